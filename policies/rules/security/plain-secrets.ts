import { z } from "zod";
import { isLiteral, namedIn, shapesIn } from "../../facts/secret-shapes.ts";
import { isSecretName, secretKeysOf, secretValuesOf } from "../../facts/secrets.ts";
import { containersOf, podOf } from "../../facts/pods.ts";
import { isObject, titleOf, type Resource } from "../../facts/stack.ts";
import { textsIn, type Text } from "../../facts/strings.ts";
import { stackRule } from "../../rule.ts";

const config = z.strictObject({
  known: z
    .array(z.strictObject({ object: z.string().min(1), at: z.string().min(1), reason: z.string().min(1) }))
    .default([
      {
        object: "ConfigMap/witness-config",
        at: 'data["witness.json"] token',
        reason: "the name by which etcd keeps clusters apart; it opens nothing",
      },
    ])
    .describe("settings that sound like secrets and are none, and why"),
});

/** Found in one object; what it is, never its value. */
interface Finding {
  readonly at: string;
  readonly what: string;
}

export const plainSecrets = stackRule({
  name: "plain-secrets",
  description:
    "No secret stands outside of a Secret: not in variables, arguments, files, annotations or labels, neither by name, nor by shape, nor as the value of one of the stack's own Secrets.",
  severity: "critical",
  why: "ConfigMaps and pods are read by far more people and programs than Secrets, and end up in logs, goldens and tickets; arguments are seen by every process of a node.",
  remediation:
    "Put the value into a Secret, mount it as a file and give the file's path (…_FILE, passwordFile). List settings that only sound like secrets under `known`.",
  config,
  check({ stack, config, report }) {
    const values = secretValuesOf(stack).map(({ title, value }) => ({ title, forms: [value, encoded(value)] }));
    const keys = secretKeysOf(stack);
    for (const resource of stack.objects()) {
      if (isObject(resource, "Secret")) continue;
      const object = titleOf(resource);
      const say = ({ at, what }: Finding) => {
        if (config.known.some((one) => one.object === object && one.at === at)) return;
        report(`${object} ${at}: found ${what} in plain; it belongs into a Secret`, resource);
      };
      // The name of a Secret's key is a reference to it.
      byName(resource, (value) => isLiteral(value) && !keys.has(value)).forEach(say);
      for (const { path, value } of [...textsIn(resource.props), ...binariesIn(resource)]) {
        for (const what of shapesIn(value)) say({ at: path, what });
        const secret = values.find(({ forms }) => forms.some((form) => value.includes(form)));
        if (secret) say({ at: path, what: `the value of ${secret.title}` });
      }
    }
  },
});

/** Files that a ConfigMap holds in base64, as they are mounted. */
function binariesIn(resource: Resource): Pick<Text, "path" | "value">[] {
  return [...textsIn(resource.props["binaryData"], "binaryData")].map(({ path, value }) => ({
    path,
    value: Buffer.from(value, "base64").toString("latin1"),
  }));
}

/** As it stands in the data of an object. */
function encoded(value: string): string {
  return Buffer.from(value).toString("base64").replace(/=+$/, "");
}

/** What is secret by its name. */
function byName(resource: Resource, isSecret: (value: string) => boolean): Finding[] {
  const found: Finding[] = [];
  const named = (at: string, name: string, value: string) => {
    if (isSecretName(name) && isSecret(value)) found.push({ at, what: `a value of ${name}` });
  };
  const pod = podOf(resource);
  for (const { path, container } of pod ? containersOf(pod) : []) {
    (container.env ?? []).forEach(({ name, value }, i) => named(`${path}.env[${i}].value`, name, value ?? ""));
    for (const key of ["command", "args"] as const) {
      const words = container[key] ?? [];
      words.forEach((word, i) => {
        const [, name, value] = /^--?([\w.-]+)=(.*)$/s.exec(word) ?? [];
        if (name !== undefined) named(`${path}.${key}[${i}]`, name, value!);
        else if (/^--?[\w.-]+$/.test(word))
          named(`${path}.${key}[${i + 1}]`, word.replace(/^-+/, ""), words[i + 1] ?? "");
      });
    }
  }
  for (const key of ["annotations", "labels"] as const) {
    for (const [name, value] of Object.entries((resource.props["metadata"]?.[key] ?? {}) as Record<string, string>))
      named(`metadata.${key}[${JSON.stringify(name)}]`, name, value);
    for (const [name, value] of Object.entries(key === "annotations" ? (pod?.annotations ?? {}) : (pod?.labels ?? {})))
      named(`${pod!.path.replace(/\.spec$/, "")}.metadata.${key}[${JSON.stringify(name)}]`, name, value);
  }
  if (!isObject(resource, "ConfigMap")) return found;
  for (const [file, text] of Object.entries((resource.props["data"] ?? {}) as Record<string, string>)) {
    const at = `data[${JSON.stringify(file)}]`;
    named(at, file, text.includes("\n") ? "" : text);
    const { settings, directives } = namedIn(file, text);
    for (const { where, value } of settings)
      if (isSecret(value)) found.push({ at: `${at} ${where}`, what: `a value of ${where}` });
    for (const what of directives) found.push({ at, what });
  }
  return found;
}

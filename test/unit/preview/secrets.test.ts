import assert from "node:assert/strict";
import { inspect } from "node:util";
import fc from "fast-check";
import { previewJson } from "../../../scripts/preview/json.ts";
import { previewMarkdown } from "../../../scripts/preview/markdown.ts";
import { compare } from "../../../scripts/preview/preview.ts";
import { KnownSecrets, secretsOf } from "../../../scripts/preview/secrets.ts";
import { previewText } from "../../../scripts/preview/text.ts";
import { kubernetesObjects, type KubernetesObject } from "../../../scripts/render/objects.ts";
import { ChangedStack, realStack } from "../../policies/stack.ts";

/** No words of any output. */
const secret = fc.stringMatching(/^[a-z0-9"\\]{12,20}Q$/);
const base64 = (text: string) => Buffer.from(text).toString("base64");

interface Drawn {
  readonly old: string;
  readonly now: string;
  readonly form: "data" | "stringData";
}

/** Objects with a secret wherever one may stand: in a Secret, in a variable, in a file, in a copy of the object. */
function objects(value: string, form: Drawn["form"], made: boolean): KubernetesObject[] {
  const meta = (name: string, annotations: Record<string, string> = {}) => ({ name, namespace: "iam", annotations });
  return [
    {
      apiVersion: "v1",
      kind: "Secret",
      metadata: meta("s", {
        "kubectl.kubernetes.io/last-applied-configuration": JSON.stringify({ stringData: { p: value } }),
      }),
      [form]: {
        p: form === "data" ? base64(value) : value,
        [made ? "new" : "old"]: form === "data" ? base64(value) : value,
      },
    },
    {
      apiVersion: "v1",
      kind: "Secret",
      metadata: meta(made ? "created" : "deleted"),
      [form]: { p: form === "data" ? base64(value) : value },
    },
    {
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: meta("c"),
      data: {
        "a.conf": `x\npassword = ${value}\n${made}`,
        "b.json": JSON.stringify({ deep: [{ password: value, made }] }),
      },
    },
    {
      apiVersion: "apps/v1",
      kind: "Deployment",
      metadata: meta("d"),
      spec: {
        template: {
          spec: {
            containers: [{ name: "a", args: [`--password=${value}`, String(made)], env: [{ name: "P", value }] }],
          },
        },
      },
    },
  ];
}

describe("secrets in a preview", () => {
  it("are in no output, of neither side, in no form", () => {
    fc.assert(
      fc.property(
        fc.record({ old: secret, now: secret, form: fc.constantFrom("data" as const, "stringData" as const) }),
        ({ old, now, form }) => {
          fc.pre(old !== now);
          const [before, after] = [objects(old, form, false), objects(now, form, true)];
          const preview = compare(
            "beijing",
            {
              against: "cluster x",
              before,
              after,
              secrets: new KnownSecrets(),
              refused: [
                {
                  object: "Secret/s",
                  message: `Secret "s" is invalid: found ${JSON.stringify(now)} and ${base64(old)}`,
                },
              ],
              notes: [],
            },
            { unlocked: [], findings: [{ rule: "plain-secrets", level: "mandatory", message: `found ${now}` }] },
          );
          assert.ok(preview.changes.length >= 5);
          const outputs = [
            previewText([preview], true),
            previewJson([preview]),
            previewMarkdown([preview]),
            JSON.stringify(preview),
            inspect(preview, { depth: 20 }),
          ];
          for (const output of outputs)
            for (const value of [old, now])
              for (const form of [value, base64(value), JSON.stringify(value).slice(1, -1)])
                assert.ok(!output.includes(form), output);
          assert.match(outputs[0]!, /stringData\.p: \(secret\) changed|data\.p: \(secret\) changed/);
        },
      ),
      { numRuns: 100 },
    );
  });

  it("are told to have changed, or not, with a real stack's", async () => {
    const draw = async (value: string) => {
      const stack = new ChangedStack(await realStack("beijing"));
      (stack.object("Secret", "redis-users")["stringData"] as Record<string, string>)["keeper"] = value;
      return stack.resources;
    };
    const [old, now] = [await draw("the first of passwords"), await draw("the second of passwords")];
    const secrets = secretsOf(now, secretsOf(old));
    const comparison = (after: typeof now) => ({
      against: "x",
      before: kubernetesObjects(old),
      after: kubernetesObjects(after),
      secrets,
      refused: [],
      notes: [],
    });
    const options = { unlocked: [], findings: [] };
    assert.deepEqual(compare("beijing", comparison(old), options).changes, []);
    const { changes, effects } = compare("beijing", comparison(now), options);
    assert.deepEqual(
      changes.map(({ id, fields }) => [id.name, fields.map(({ secret, kind }) => [secret, kind])]),
      [["redis-users", [[true, "changed"]]]],
    );
    assert.deepEqual(
      effects.map(({ kind }) => kind),
      ["reloads"],
    );
  });
});

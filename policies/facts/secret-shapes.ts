import { parse } from "yaml";
import { isSecretName } from "./secrets.ts";
import { textsIn } from "./strings.ts";

/** What tells a secret by its form, wherever it stands. */
const SHAPES: readonly (readonly [RegExp, string])[] = [
  [/-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----/, "a private key"],
  // Not where a variable of a shell or of Kubernetes, or a placeholder, stands for the password.
  [/\b[a-z][a-z0-9+.-]*:\/\/[^\s/:@"'$<{]*:(?![${<%])[^\s/@"']+@/i, "a URL with a password"],
  [/\b(AKIA|ASIA)[0-9A-Z]{16}\b/, "an access key of AWS"],
  [/\bgh[pousr]_[A-Za-z0-9]{36,}\b/, "a token of GitHub"],
  [/\bxox[abprs]-[A-Za-z0-9-]{10,}/, "a token of Slack"],
  [/\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}/, "a JSON web token"],
];

/** What forms of secrets are in a text. */
export function shapesIn(text: string): string[] {
  return SHAPES.filter(([shape]) => shape.test(text)).map(([, name]) => name);
}

/** Directives of the engines' own files that take a password as it is. */
const DIRECTIVES: readonly (readonly [RegExp, string])[] = [
  [/^\s*(requirepass|masterauth|tls-key-file-pass|tls-client-key-file-pass)\s+\S/im, "a password of Redis"],
  [/^\s*user\s+\S+\s.*?(?<=\s)>\S/im, "a password of an ACL user"],
  [/^\s*(stats auth\s+\S+:\S|user\s+\S+\s+(insecure-)?password\s+\S)/im, "a password of HAProxy"],
  [/^\s*credentials\s+\S+\s+\S/im, "a password of etcd"],
  [/^\s*"[^"\n]*"\s+"[^"\n]+"\s*$/m, "a user's password of PgBouncer"],
];

/** A setting, and the literal that it is set to. */
export interface Setting {
  readonly where: string;
  readonly value: string;
}

/** What engines' files say that is secret by its name. */
export interface Named {
  readonly settings: readonly Setting[];
  /** Where a directive takes a password as it is. */
  readonly directives: readonly string[];
}

/** Looks through a file of settings, by its name: JSON and YAML by their keys, others by their lines. Programs are no
 *  settings, and are looked through by shape alone. */
export function namedIn(file: string, text: string): Named {
  if (/\.(json|ya?ml)$/.test(file)) {
    const texts = [...textsIn(tree(text))].filter(({ key, value }) => isSecretName(key) && isLiteral(value));
    return { settings: texts.map(({ path, value }) => ({ where: path, value })), directives: [] };
  }
  if (!/(\.(conf|cfg|ini|acl)|^Corefile|userlist\.txt)$/.test(file)) return { settings: [], directives: [] };
  const lines = text.split("\n").filter((line) => !/^\s*[#;]/.test(line));
  return {
    settings: [...lines.join("\n").matchAll(/(?<name>[\w.-]+)\s*=\s*(?<value>"[^"]*"|'[^']*'|[^\s'"]+)/g)]
      .map(({ groups }) => ({ where: groups!["name"]!, value: groups!["value"]!.replace(/^(["'])(.*)\1$/, "$2") }))
      .filter(({ where, value }) => isSecretName(where) && isLiteral(value)),
    directives: DIRECTIVES.filter(([directive]) => directive.test(lines.join("\n"))).map(([, name]) => name),
  };
}

/** Whether a value is one, and no path of a file, reference or switch. */
export function isLiteral(value: string): boolean {
  return value !== "" && !/^(\/|\$[({A-Za-z]|\(secret\)$|(true|false|on|off|yes|no|none|\d+)$)/i.test(value);
}

function tree(text: string): unknown {
  try {
    return parse(text) as unknown;
  } catch {
    return text;
  }
}

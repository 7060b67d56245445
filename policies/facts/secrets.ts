import { ifKnown } from "../unknown.ts";
import { titleOf, type Stack } from "./stack.ts";
import { textsIn } from "./strings.ts";

/** One value that a Secret keeps. Never printed. */
export interface SecretValue {
  /** Secret and key: `Secret/redis-users keeper`. */
  readonly title: string;
  readonly value: string;
}

/** Shorter ones would be found in any text by chance. */
const SHORTEST = 8;

const WORDS = [
  "password",
  "passwd",
  "passphrase",
  "secret",
  "token",
  "credential",
  "apiKey",
  "privateKey",
  "accessKey",
];
const SPELT = WORDS.flatMap((word) => [word, word.replace(/[A-Z]/, "[-_]?$&")]).join("|");
const CAPITAL = WORDS.map((word) => word[0]!.toUpperCase() + word.slice(1)).join("|");
/** `DATABASE_PASSWORD`, `auth-token`; and variables that clients of engines read. */
const SEPARATE = new RegExp(`(^|[^a-z])(${SPELT}|pwd|pgpassword|rediscli[_-]?auth)s?$`, "i");
/** `redisPassword`. */
const CAMEL = new RegExp(`[a-z0-9](${CAPITAL})s?$`);

/** Whether a setting of this name takes a secret. */
export function isSecretName(name: string): boolean {
  return SEPARATE.test(name) || CAMEL.test(name);
}

/** The keys of every Secret of a stack: what stands for a secret elsewhere. */
export function secretKeysOf(stack: Stack): Set<string> {
  return new Set(stack.objects("Secret").flatMap((secret) => fieldsOf(secret.props).map(([key]) => key)));
}

/** Every value that the Secrets of a stack keep, as far as it is known: what is not known yet is in no text that is. */
export function secretValuesOf(stack: Stack): SecretValue[] {
  return stack.objects("Secret").flatMap((secret) =>
    fieldsOf(secret.props).flatMap(([key, value]) =>
      valuesIn(value)
        .filter((one) => one.length >= SHORTEST)
        .map((one) => ({ title: `${titleOf(secret)} ${key}`, value: one })),
    ),
  );
}

function fieldsOf(props: Record<string, unknown>): [string, string][] {
  return (["stringData", "data"] as const).flatMap((field) => {
    const values = ifKnown(() => props[field] as Record<string, string> | undefined) ?? {};
    return Object.keys(values).flatMap((key): [string, string][] => {
      const value = ifKnown(() => values[key]!);
      if (value === undefined) return [];
      return [[key, field === "data" ? Buffer.from(value, "base64").toString("utf8") : value]];
    });
  });
}

/** A value, and where it is a file, what in it is secret. Certificates are for everybody. */
function valuesIn(value: string): string[] {
  const text = value.trim();
  if (text.startsWith("-----BEGIN CERTIFICATE-----")) return [];
  const json = parsed(text);
  if (json !== undefined) return [...textsIn(json)].filter(({ key }) => isSecretName(key)).map((one) => one.value);
  // PgBouncer's list of users: "name" "password" a line.
  const users = [...text.matchAll(/^"(?:[^"]|"")*"\s+"((?:[^"]|"")*)"/gm)].map((match) => match[1]!);
  return users.length > 0 ? users : [text];
}

function parsed(text: string): unknown {
  if (!text.startsWith("{")) return undefined;
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

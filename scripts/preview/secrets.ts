import type { RegisteredResource } from "../render/collect.ts";
import type { KubernetesObject } from "../render/objects.ts";

/** What is shown of a secret. */
export const MASK = "(secret)";
/** Shorter texts are no passwords or keys of ours, but may well stand elsewhere by chance. */
const SHORTEST = 8;

/** A value that is compared and never shown: whatever prints it, prints the mask. */
export class Sealed {
  readonly #value: unknown;

  constructor(value: unknown) {
    this.#value = value;
  }

  same(other: unknown): boolean {
    return other instanceof Sealed && JSON.stringify(this.#value) === JSON.stringify(other.#value);
  }

  toString(): string {
    return MASK;
  }

  toJSON(): string {
    return MASK;
  }

  [Symbol.for("nodejs.util.inspect.custom")](): string {
    return MASK;
  }
}

/** Values that must not be seen, wherever they stand. */
export class KnownSecrets {
  readonly #values = new Set<string>();

  /** Remembers every text in the value, in plain and as the API writes it.
   *  @param base64 whether the texts are a Secret's `data` */
  add(value: unknown, base64 = false): void {
    if (typeof value === "string") {
      this.#remember(value);
      this.#remember(base64 ? Buffer.from(value, "base64").toString("utf8") : Buffer.from(value).toString("base64"));
    } else if (typeof value === "object" && value !== null) {
      for (const item of Object.values(value)) this.add(item, base64);
    }
  }

  /** Whether a secret is in the text. */
  in(text: string): boolean {
    for (const value of this.#values) if (text.includes(value)) return true;
    return false;
  }

  /** The text with every secret masked: for messages of programs that were given them. */
  masked(text: string): string {
    let masked = text;
    for (const value of [...this.#values].sort((a, b) => b.length - a.length)) masked = masked.replaceAll(value, MASK);
    return masked;
  }

  #remember(text: string): void {
    if (text.length >= SHORTEST && text !== MASK) this.#values.add(text);
    // A message may quote it as JSON does.
    const quoted = JSON.stringify(text).slice(1, -1);
    if (quoted.length >= SHORTEST && quoted !== MASK) this.#values.add(quoted);
  }
}

/** Secrets of what a program registered: all that is marked, and all content of Secrets. */
export function secretsOf(resources: readonly RegisteredResource[], into = new KnownSecrets()): KnownSecrets {
  for (const { inputs, secretPaths } of resources) {
    for (const path of secretPaths)
      into.add(path.reduce<unknown>((at, key) => (at as Tree | undefined)?.[key], inputs));
  }
  return secretsIn(
    resources
      .filter(({ type }) => type.startsWith("kubernetes:"))
      .map(({ inputs }) => inputs as unknown as KubernetesObject),
    into,
  );
}

/** Secrets of objects as a cluster holds them. */
export function secretsIn(objects: readonly KubernetesObject[], into = new KnownSecrets()): KnownSecrets {
  for (const object of objects) {
    if (object.kind !== "Secret") continue;
    into.add(object["data"], true);
    into.add(object["stringData"]);
  }
  return into;
}

/** A copy of the object in which every secret is sealed: the content of a Secret, and each text that holds a known one. */
export function seal(object: KubernetesObject, secrets: KnownSecrets): KubernetesObject {
  const sealed = sealTexts(object, secrets) as KubernetesObject;
  if (object.kind === "Secret") {
    for (const field of ["data", "stringData"]) if (field in object) sealed[field] = sealLeaves(object[field]);
  }
  return sealed;
}

type Tree = Record<string, unknown>;

function sealTexts(value: unknown, secrets: KnownSecrets): unknown {
  if (typeof value === "string") return secrets.in(value) ? new Sealed(value) : value;
  if (Array.isArray(value)) return value.map((item) => sealTexts(item, secrets));
  if (typeof value !== "object" || value === null || value instanceof Sealed) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, sealTexts(item, secrets)]));
}

/** Keys stay readable: which file of a Secret has changed matters, its content does not. */
function sealLeaves(value: unknown): unknown {
  if (typeof value !== "object" || value === null || Array.isArray(value) || value instanceof Sealed)
    return value instanceof Sealed ? value : new Sealed(value);
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, new Sealed(item)]));
}

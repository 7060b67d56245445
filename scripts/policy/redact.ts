import type { RegisteredResource } from "../render/collect.ts";

/** Shorter words are no passwords, and would be found in the middle of others. */
const SHORTEST = 8;
const MASK = "(secret)";
/** What may stand around a password in a file: `password=…`, `user:…`, `"…" "…"`. */
const EDGES = /[\s"'`=:;,<>(){}[\]|&@/\\]+/;
/** The part of an input that the JSON parser shows in its errors. */
const JSON_SNIPPET = /,? ?(\.{3})?"[\s\S]*?"(\.{3})? is not valid JSON/g;

/** Masks in a text whatever stands in secret values of the resources and nowhere else in them. A rule does not show
 *  secrets; its errors and the messages of what it calls are not ours. */
export function redactor(resources: readonly RegisteredResource[]): (text: string) => string {
  // Made when there is something to show: most runs show nothing.
  let words: readonly string[] | undefined;
  return (text) => {
    words ??= secretWords(resources);
    const masked = words.reduce((rest, word) => rest.replaceAll(word, MASK), text);
    return masked.replace(JSON_SNIPPET, " that is not valid JSON");
  };
}

/** Secret values, and the words of those that are whole files; the longest first. */
function secretWords(resources: readonly RegisteredResource[]): string[] {
  const secret: string[] = [];
  const open: string[] = [];
  for (const { inputs, secretPaths, type } of resources) {
    const all = type.endsWith(":Secret") ? [...secretPaths, ["data"], ["stringData"]] : secretPaths;
    sort(inputs, all, false, secret, open);
  }
  const words = new Set(secret.flatMap((value) => [value, value.trim(), ...value.split(EDGES), ...decoded(value)]));
  const seen = open.join("\n");
  return [...words]
    .filter((word) => word.length >= SHORTEST && !seen.includes(word))
    .sort((a, b) => b.length - a.length);
}

/** Splits the texts in a value into secret and open ones. */
function sort(
  value: unknown,
  paths: readonly (readonly string[])[],
  hidden: boolean,
  secret: string[],
  open: string[],
): void {
  const inside = hidden || paths.some((path) => path.length === 0);
  if (typeof value === "string") (inside ? secret : open).push(value);
  if (typeof value !== "object" || value === null) return;
  for (const [key, item] of Object.entries(value)) {
    const below = paths.filter((path) => path[0] === key).map((path) => path.slice(1));
    open.push(key);
    sort(item, below, inside, secret, open);
  }
}

/** What a Secret's `data` holds in base64. */
function decoded(value: string): string[] {
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(value) || value.length % 4 !== 0) return [];
  const text = Buffer.from(value, "base64").toString("utf8");
  return text.includes("\uFFFD") ? [] : [text, ...text.split(EDGES)];
}

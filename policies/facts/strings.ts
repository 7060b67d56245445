/** A piece of text in an object, and where it stands. */
export interface Text {
  /** Keys and indices: `spec.containers[0].env[1].value`. */
  readonly path: string;
  /** Last key of the path; empty for an item of a list. */
  readonly key: string;
  readonly value: string;
}

/** Every text in a value, keys that are no plain words in brackets. */
export function* textsIn(value: unknown, path = "", key = ""): Generator<Text> {
  if (typeof value === "string") yield { path, key, value };
  else if (Array.isArray(value))
    for (let i = 0; i < value.length; i++) yield* textsIn((value as unknown[])[i], `${path}[${i}]`);
  else if (typeof value === "object" && value !== null)
    for (const [name, item] of Object.entries(value)) yield* textsIn(item, at(path, name), name);
}

function at(path: string, name: string): string {
  if (!/^[A-Za-z_$][\w$-]*$/.test(name)) return `${path}[${JSON.stringify(name)}]`;
  return path === "" ? name : `${path}.${name}`;
}

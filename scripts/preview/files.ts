import { parse } from "yaml";

const STRUCTURED = /\.(json|ya?ml)$/;

/** Whether a file is compared field by field and not line by line, by its name. */
export function isStructured(name: string): boolean {
  return STRUCTURED.test(name);
}

/** What a JSON or YAML file says; undefined where it says no mapping, or cannot be read: it is then a text like others. */
export function parseFile(name: string, text: string): Record<string, unknown> | undefined {
  if (!isStructured(name)) return undefined;
  try {
    const value: unknown = name.endsWith(".json") ? JSON.parse(text) : parse(text);
    return typeof value === "object" && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : undefined;
  } catch {
    return undefined;
  }
}

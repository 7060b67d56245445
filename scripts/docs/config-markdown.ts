import { z } from "zod";
import { SECRET_KEYS, stackKeys } from "../../stacks/config.ts";

/** What is read of a JSON schema. */
export interface JsonSchema {
  type?: string | string[];
  description?: string;
  default?: unknown;
  enum?: unknown[];
  const?: string | number | boolean;
  minimum?: number;
  maximum?: number;
  pattern?: string;
  properties?: Record<string, JsonSchema>;
  additionalProperties?: JsonSchema | boolean;
  items?: JsonSchema;
  propertyNames?: JsonSchema;
  anyOf?: JsonSchema[];
  oneOf?: JsonSchema[];
}

/** docs/config.md: every key of the stack's config, from the schema. */
export function configMarkdown(): string {
  const lines = [
    "# Configuration",
    "",
    "Every key of `Pulumi.<region>.yaml`, made from the schema by `npm run config-table`. Unknown keys are errors.",
    "Keys marked secret are set by `pulumi config set --secret`.",
  ];
  for (const [key, schema] of Object.entries(stackKeys)) {
    const json = z.toJSONSchema(schema as z.ZodType, { io: "input", unrepresentable: "any" }) as JsonSchema;
    const secret = (SECRET_KEYS as readonly string[]).includes(key);
    lines.push("", `## \`iam-ha:${key}\`${secret ? " (secret)" : ""}`, "", sentence(json.description ?? ""), "");
    const table = keyTable(json);
    if (table.length > 0) lines.push(...table);
    else lines.push(`Allowed: ${allowed(json)}. Default: ${shown(json.default)}.`);
  }
  return `${lines.join("\n")}\n`;
}

/** An object's keys as a table; empty where it has none. */
export function keyTable(schema: JsonSchema): string[] {
  const rows = tableRows(schema, "");
  return rows.length > 0 ? ["| key | what | allowed | default |", "| --- | --- | --- | --- |", ...rows] : [];
}

function tableRows(whole: JsonSchema, prefix: string): string[] {
  // Of several shapes the fullest is listed; the others say the same of fewer keys.
  const shapes = [whole, ...(whole.oneOf ?? [])];
  const size = (one: JsonSchema) => Object.keys(one.properties ?? {}).length;
  const schema = shapes.reduce((best, one) => (size(one) > size(best) ? one : best));
  const rows: string[] = [];
  for (const [name, field] of Object.entries(schema.properties ?? {})) {
    const path = prefix ? `${prefix}.${name}` : name;
    if (field.properties && Object.keys(field.properties).length > 0) {
      rows.push(...tableRows(field, path));
      continue;
    }
    rows.push(
      `| \`${path}\` | ${escape(field.description ?? "")} | ${escape(allowed(field))} | ${escape(shown(field.default))} |`,
    );
  }
  return rows;
}

function allowed(schema: JsonSchema): string {
  if (schema.enum) return schema.enum.map((value) => `\`${String(value)}\``).join(", ");
  if (schema.const !== undefined) return `\`${String(schema.const)}\``;
  const choices = schema.oneOf ?? schema.anyOf;
  if (choices) return choices.map((choice) => (choice.properties ? object(choice) : allowed(choice))).join(" or ");
  if (schema.type === "array") return `list of ${schema.items ? allowed(schema.items) : "values"}`;
  if (schema.type === "object") {
    const keys = schema.propertyNames?.enum;
    if (schema.properties) return object(schema);
    return keys ? `mapping; keys: ${keys.map((key) => `\`${String(key)}\``).join(", ")}` : "mapping";
  }
  const range = [
    schema.minimum === undefined ? "" : `≥ ${schema.minimum}`,
    bounded(schema.maximum) ? `≤ ${schema.maximum}` : "",
  ].filter(Boolean);
  return [String(schema.type ?? "any"), ...range].join(" ");
}

function bounded(maximum: number | undefined): boolean {
  return maximum !== undefined && maximum < Number.MAX_SAFE_INTEGER;
}

function object(schema: JsonSchema): string {
  return `{ ${Object.entries(schema.properties ?? {})
    .map(([name, field]) => (field.const === undefined ? name : `${name}: ${String(field.const)}`))
    .join(", ")} }`;
}

function shown(value: unknown): string {
  return value === undefined ? "—" : `\`${JSON.stringify(value)}\``;
}

function sentence(text: string): string {
  return text === "" ? "" : `${text[0]!.toUpperCase()}${text.slice(1)}.`;
}

/** A text as a table's cell. */
export function escape(text: string): string {
  return text.replaceAll("|", "\\|").replaceAll("\n", " ");
}

/** A JSON schema, or a part of one. */
export type Schema = Record<string, unknown>;

interface Definition extends Schema {
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly "x-kubernetes-group-version-kind"?: readonly { group: string; version: string; kind: string }[];
}

/** Files of schemas by name. */
export type SchemaFiles = Readonly<Record<string, Schema>>;

/** Name of the file of a kind's schema, as kubeconform's template makes it of an object. */
export const SCHEMA_TEMPLATE = "{{ .ResourceKind }}{{ .KindSuffix }}.json";

/** What the API server takes in more forms than the published type says. */
const FORMS: Readonly<Record<string, Schema>> = {
  "io.k8s.apimachinery.pkg.util.intstr.IntOrString": { type: ["string", "integer"] },
  "io.k8s.apimachinery.pkg.api.resource.Quantity": { type: ["string", "number"] },
};

/** Strict JSON schemas of the kinds that an API server's OpenAPI document (version 2) describes: a field that is not
 *  described is an error, as it is to the API server's strict field validation.
 *  @throws Error for a document without definitions */
export function schemasOf(openapi: { readonly definitions?: Readonly<Record<string, Definition>> }): SchemaFiles {
  const definitions = Object.entries(openapi.definitions ?? {});
  if (definitions.length === 0) throw new Error("the OpenAPI document has no definitions");
  const all = new Map(definitions.map(([name, schema]) => [name, FORMS[name] ?? strict(schema)]));
  return Object.fromEntries(
    definitions.flatMap(([name, { "x-kubernetes-group-version-kind": gvks = [], properties }]) =>
      // Some that belong to every group (DeleteOptions, WatchEvent) are no objects.
      (properties?.["metadata"] ? gvks : []).map((gvk) => [fileName(gvk), kindSchema(name, gvk, all)] as const),
    ),
  );
}

/** The same rule as kubeconform's: of a group only the part before its first dot. */
function fileName({ group, version, kind }: { group: string; version: string; kind: string }): string {
  const parts = group === "" ? [kind, version] : [kind, group.split(".")[0]!, version];
  return `${parts.join("-").toLowerCase()}.json`;
}

/** The schema of a kind with all that it refers to: a file that stands alone is read quickest. */
function kindSchema(
  name: string,
  { group, version, kind }: { group: string; version: string; kind: string },
  all: ReadonlyMap<string, Schema>,
): Schema {
  return {
    $ref: REFERENCE + name,
    properties: { apiVersion: { const: group === "" ? version : `${group}/${version}` }, kind: { const: kind } },
    required: ["apiVersion", "kind", "metadata"],
    definitions: Object.fromEntries([...reachable(name, all)].map((one) => [one, all.get(one)])),
  };
}

const REFERENCE = "#/definitions/";

/** Names of the definitions that a definition leads to, its own among them. */
function reachable(name: string, all: ReadonlyMap<string, Schema>): Set<string> {
  const found = new Set([name]);
  // What is added while it runs is visited too.
  for (const one of found) {
    const schema = all.get(one);
    if (schema === undefined) throw new Error(`the OpenAPI document has no definition ${one}`);
    for (const other of referencesOf(schema)) found.add(other);
  }
  return found;
}

function referencesOf(value: unknown): string[] {
  if (Array.isArray(value)) return value.flatMap(referencesOf);
  if (!isSchema(value)) return [];
  const { $ref } = value;
  if (typeof $ref === "string") return [$ref.slice(REFERENCE.length)];
  return Object.values(value).flatMap(referencesOf);
}

/** Descriptions go, fields that are not described are forbidden. */
function strict(schema: Schema): Schema {
  const { $ref, properties, items, additionalProperties, type, required, enum: values } = schema;
  if (typeof $ref === "string") return { $ref };
  return {
    ...(type === undefined ? {} : { type }),
    ...(required === undefined ? {} : { required }),
    ...(values === undefined ? {} : { enum: values }),
    ...(isSchema(items) ? { items: strict(items) } : {}),
    ...(isSchema(additionalProperties) ? { additionalProperties: strict(additionalProperties) } : {}),
    ...(isSchema(properties)
      ? {
          properties: Object.fromEntries(
            Object.entries(properties).map(([key, value]) => [key, strict(value as Schema)]),
          ),
          additionalProperties: false,
        }
      : {}),
  };
}

function isSchema(value: unknown): value is Schema {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

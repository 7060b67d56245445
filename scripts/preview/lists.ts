/** How the items of a list belong together when two versions of it are compared. */
export type ListSort =
  /** By a key of theirs, wherever they stand. */
  | { readonly by: "key"; readonly keyOf: (item: unknown) => string | undefined }
  /** As members of a set: only whether they are in it counts. */
  | { readonly by: "member" }
  /** By their place. */
  | { readonly by: "place" };

const field =
  (...names: readonly string[]) =>
  (item: unknown): string | undefined => {
    let at = item;
    for (const name of names) at = (at as Record<string, unknown> | null | undefined)?.[name];
    return typeof at === "string" ? at : undefined;
  };

/** A port is known by its number and protocol, in containers, Services and policies alike. */
function port(item: unknown): string | undefined {
  const { containerPort, port: number, protocol = "TCP" } = (item ?? {}) as Record<string, unknown>;
  const at = containerPort ?? number;
  return typeof at === "number" || typeof at === "string" ? `${at}/${String(protocol)}` : undefined;
}

/** Natural keys, by the name of the field that holds the list. */
const KEYS: Readonly<Record<string, (item: unknown) => string | undefined>> = {
  containers: field("name"),
  initContainers: field("name"),
  ephemeralContainers: field("name"),
  env: field("name"),
  volumes: field("name"),
  imagePullSecrets: field("name"),
  options: field("name"),
  sysctls: field("name"),
  volumeMounts: field("mountPath"),
  volumeDevices: field("devicePath"),
  volumeClaimTemplates: field("metadata", "name"),
  hostAliases: field("ip"),
  topologySpreadConstraints: field("topologyKey"),
  items: field("key"),
  ports: port,
};

/** Lists in which order has no meaning to Kubernetes. */
const SETS = new Set([
  "accessModes",
  "add",
  "apiGroups",
  "drop",
  "egress",
  "finalizers",
  "from",
  "ingress",
  "ipBlocks",
  "loadBalancerSourceRanges",
  "matchExpressions",
  "nonResourceURLs",
  "policyTypes",
  "resourceNames",
  "resources",
  "rules",
  "subjects",
  "to",
  "tolerations",
  "values",
  "verbs",
]);

/** How to compare two versions of the list in a field. A key that is missing or there twice is no key. */
export function listSort(
  name: string,
  before: readonly unknown[],
  after: readonly unknown[],
  inFile: boolean,
): ListSort {
  const keyOf = inFile ? field("name") : KEYS[name];
  if (keyOf && hasKeys(before, keyOf) && hasKeys(after, keyOf)) return { by: "key", keyOf };
  return !inFile && (SETS.has(name) || KEYS[name]) ? { by: "member" } : { by: "place" };
}

function hasKeys(items: readonly unknown[], keyOf: (item: unknown) => string | undefined): boolean {
  const keys = items.map(keyOf);
  return keys.every((key) => key !== undefined) && new Set(keys).size === keys.length;
}

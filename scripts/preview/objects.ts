import type { KubernetesObject } from "../render/objects.ts";

/** Which object it is, whatever version of its API it is written in. */
export interface ObjectId {
  /** Group of the API: `apps`; empty for the core. */
  readonly group: string;
  readonly kind: string;
  /** Empty for objects of the whole cluster. */
  readonly namespace: string;
  readonly name: string;
}

export function idOf({ apiVersion, kind, metadata }: KubernetesObject): ObjectId {
  const slash = apiVersion.indexOf("/");
  return {
    group: slash < 0 ? "" : apiVersion.slice(0, slash),
    kind,
    namespace: metadata.namespace ?? "",
    name: metadata.name,
  };
}

export function keyOf(object: KubernetesObject): string {
  const { group, kind, namespace, name } = idOf(object);
  return [group, kind, namespace, name].join("/");
}

/** `StatefulSet/postgresql-beijing`, by which people name it and unlock it. */
export function titleOf({ kind, name }: Pick<ObjectId, "kind" | "name">): string {
  return `${kind}/${name}`;
}

const NAME_LABEL = "app.kubernetes.io/name";

/** Component that the object is a part of, by its label. */
export function componentOf(object: KubernetesObject): string | undefined {
  return object.metadata.labels?.[NAME_LABEL];
}

/** What the API server and its controllers write: no part of what anybody wants. */
const SERVER_METADATA = ["managedFields", "resourceVersion", "generation", "uid", "creationTimestamp", "selfLink"];
/** Copies of the whole object, which would show a Secret's content; the record of who applied it. */
const TOOL_ANNOTATIONS = ["kubectl.kubernetes.io/last-applied-configuration"];
const TOOL_LABELS = ["applyset.kubernetes.io/part-of"];

/** The object without what the API server, controllers and tools write on it. */
export function desired(object: KubernetesObject): KubernetesObject {
  const { status: _status, ...rest } = object;
  const { labels, annotations, ...metadata } = object.metadata;
  return {
    ...rest,
    metadata: {
      ...omit(metadata, SERVER_METADATA),
      ...without("labels", labels, TOOL_LABELS),
      ...without("annotations", annotations, TOOL_ANNOTATIONS),
    } as KubernetesObject["metadata"],
  };
}

/** An empty map is left out, as the API server does. */
function without(name: string, map: Record<string, string> | undefined, keys: readonly string[]) {
  const left = omit(map ?? {}, keys);
  return Object.keys(left).length === 0 ? {} : { [name]: left };
}

function omit<T extends object>(map: T, keys: readonly string[]): Partial<T> {
  return Object.fromEntries(Object.entries(map).filter(([key]) => !keys.includes(key))) as Partial<T>;
}

import { stringify } from "yaml";
import type { RegisteredResource } from "./collect.ts";

/** A Kubernetes object as it is sent to the API server. */
export interface KubernetesObject {
  apiVersion: string;
  kind: string;
  metadata: { name: string; namespace?: string; labels?: Record<string, string>; annotations?: Record<string, string> };
  [field: string]: unknown;
}

/** Kinds that others refer to come first; the order of the rest is kept. */
const FIRST = [
  "Namespace",
  "StorageClass",
  "ServiceAccount",
  "Role",
  "ClusterRole",
  "RoleBinding",
  "ClusterRoleBinding",
  "Secret",
  "ConfigMap",
  "NetworkPolicy",
  "Service",
];

/** The Kubernetes objects among a program's resources, in an order in which they can be applied. */
export function kubernetesObjects(resources: readonly RegisteredResource[]): KubernetesObject[] {
  return resources
    .filter((r) => r.custom && r.type.startsWith("kubernetes:"))
    .map((r) => r.inputs as unknown as KubernetesObject)
    .sort((a, b) => rank(a) - rank(b));
}

function rank(object: KubernetesObject): number {
  const at = FIRST.indexOf(object.kind);
  return at < 0 ? FIRST.length : at;
}

/** The same objects with every secret value masked, for eyes and files. */
export function maskedObjects(resources: readonly RegisteredResource[]): KubernetesObject[] {
  const masked = resources.map((r) => ({
    ...r,
    inputs: maskPaths(r.inputs, r.secretPaths) as Record<string, unknown>,
  }));
  return kubernetesObjects(masked).map((object) => (object.kind === "Secret" ? maskSecret(object) : object));
}

const MASK = "(secret)";

function maskPaths(value: unknown, paths: readonly (readonly string[])[]): unknown {
  if (paths.some((path) => path.length === 0)) return maskLeaves(value);
  if (paths.length === 0 || value === null || typeof value !== "object") return value;
  const below = (key: string) => paths.filter((path) => path[0] === key).map((path) => path.slice(1));
  if (Array.isArray(value)) return value.map((item, i) => maskPaths(item, below(String(i))));
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, maskPaths(item, below(key))]));
}

/** Keys stay readable: which file of a Secret there is matters, its content does not. */
function maskLeaves(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(maskLeaves);
  if (value !== null && typeof value === "object")
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, maskLeaves(item)]));
  return MASK;
}

function maskSecret(object: KubernetesObject): KubernetesObject {
  const copy: KubernetesObject = { ...object };
  for (const field of ["data", "stringData"]) if (field in copy) copy[field] = maskLeaves(copy[field]);
  return copy;
}

/** One YAML document per object, keys sorted, so that two renders of one program are the same to the letter. */
export function toYaml(objects: readonly KubernetesObject[]): string {
  return objects
    .map((object) => stringify(object, { sortMapEntries: true, lineWidth: 0, aliasDuplicateObjects: false }))
    .join("---\n");
}

import type { FieldChange, ObjectChange } from "../diff.ts";
import { fieldsOf, pathText } from "../paths.ts";

/** Fields of `spec` that may change in a StatefulSet; the API server refuses all others (apps/v1, "updates to statefulset
 *  spec for fields other than …"). */
const STATEFULSET = new Set([
  "replicas",
  "ordinals",
  "template",
  "updateStrategy",
  "revisionHistoryLimit",
  "persistentVolumeClaimRetentionPolicy",
  "minReadySeconds",
]);

const FIXED: Readonly<Record<string, (fields: readonly string[], change: ObjectChange) => boolean>> = {
  StatefulSet: ([root, name]) => root === "spec" && name !== undefined && !STATEFULSET.has(name),
  Deployment: ([root, name]) => root === "spec" && name === "selector",
  DaemonSet: ([root, name]) => root === "spec" && name === "selector",
  Job: ([root, name]) => root === "spec" && (name === "selector" || name === "template" || name === "completionMode"),
  Service: ([root, name]) => root === "spec" && ["clusterIP", "clusterIPs", "loadBalancerClass"].includes(name ?? ""),
  PersistentVolumeClaim: ([root, name]) =>
    root === "spec" && name !== "resources" && name !== "volumeAttributesClassName",
  RoleBinding: ([root]) => root === "roleRef",
  ClusterRoleBinding: ([root]) => root === "roleRef",
  StorageClass: ([root]) => ["provisioner", "parameters", "reclaimPolicy", "volumeBindingMode"].includes(root ?? ""),
  Secret: ([root], change) => root === "type" || isFrozen(change),
  ConfigMap: (_fields, change) => isFrozen(change),
};

/** Changes of fields that Kubernetes never changes in an object that is there: it has to be deleted and made anew. */
export function immutableChanges(change: ObjectChange): FieldChange[] {
  const fixed = FIXED[change.id.kind];
  if (!fixed || change.action !== "changed") return [];
  return change.fields.filter(({ path }) => fixed(fieldsOf(path), change));
}

/** The paths of such changes, for messages. */
export function immutablePaths(change: ObjectChange): string[] {
  return [...new Set(immutableChanges(change).map(({ path }) => pathText(path)))];
}

/** Whether the object's content is frozen by `immutable: true`. Its labels are not. */
function isFrozen({ before, fields }: ObjectChange): boolean {
  return (
    before?.["immutable"] === true &&
    fields.some(({ path }) => ["data", "stringData", "binaryData", "immutable"].includes(fieldsOf(path)[0] ?? ""))
  );
}

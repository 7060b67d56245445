import { podsMade } from "./workloads.ts";
import type { PodTemplate } from "./pods.ts";
import { isObject, namespaceOf, objectName, type Resource, type Stack } from "./stack.ts";

/** Whether the object is a set of pods that have volumes of their own. */
export function hasVolumes(resource: Resource): boolean {
  if (!isObject(resource, "StatefulSet")) return false;
  return ((resource.props["spec"]?.volumeClaimTemplates ?? []) as readonly unknown[]).length > 0;
}

/** Why data is lost with an object; undefined for one that can be made anew. */
export function dataIn(stack: Stack, resource: Resource): string | undefined {
  if (isObject(resource, "Namespace")) return "every volume in it goes with it";
  if (isObject(resource, "PersistentVolumeClaim", "PersistentVolume")) return "it is a volume";
  if (hasVolumes(resource)) return "its pods have volumes";
  if (isObject(resource, "Service") && ownsState(resource))
    return "the state that is kept in its Endpoints goes with it";
  if (isObject(resource, "Secret") && opensData(stack, resource)) return "it opens what is in volumes";
  return undefined;
}

/** Endpoints of a Service without a selector are somebody's own record, and go with the Service. */
function ownsState(service: Resource): boolean {
  const { selector, type } = (service.props["spec"] ?? {}) as { selector?: object; type?: string };
  return type !== "ExternalName" && Object.keys(selector ?? {}).length === 0;
}

/** Engines keep passwords with their data: with another Secret nobody gets in. Certificates are only held against a CA. */
function opensData(stack: Stack, secret: Resource): boolean {
  if (secret.props["type"] === "kubernetes.io/tls") return false;
  return podsMade(stack).some(
    (pod) =>
      hasVolumes(pod.resource) &&
      namespaceOf(pod.resource) === namespaceOf(secret) &&
      secretsIn(pod).has(objectName(secret)),
  );
}

interface Volume {
  readonly secret?: { readonly secretName?: string };
  readonly projected?: { readonly sources?: readonly { readonly secret?: { readonly name?: string } }[] };
}

/** Names of the Secrets that a pod mounts. */
function secretsIn({ spec }: PodTemplate): Set<string | undefined> {
  return new Set(
    ((spec.volumes ?? []) as readonly Volume[]).flatMap(({ secret, projected }) => [
      secret?.secretName,
      ...(projected?.sources ?? []).map((source) => source.secret?.name),
    ]),
  );
}

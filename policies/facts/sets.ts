import { quantityBytes } from "../../components/common/schema.ts";
import { containersOf, podOf, type PodTemplate } from "./pods.ts";
import { CannotJudge, componentOf, isObject, titleOf, type Resource, type Stack } from "./stack.ts";

/** A component's pods, as the object that makes them tells. */
export interface Pods {
  readonly resource: Resource;
  /** How many there are in peace. */
  readonly count: number;
  readonly template: PodTemplate;
}

/** The pods of the resource if it is of this kind and component; undefined for any other resource.
 *  @throws CannotJudge when it does not say how many */
export function podsIn(resource: Resource, kind: "StatefulSet" | "Deployment", component: string): Pods | undefined {
  if (!isObject(resource, kind) || componentOf(resource) !== component) return undefined;
  const count: unknown = (resource.props["spec"] as Record<string, unknown> | undefined)?.["replicas"];
  if (typeof count !== "number") throw new CannotJudge(`${titleOf(resource)} spec.replicas: is not set`);
  return { resource, count, template: podOf(resource)! };
}

/** The pods of a component.
 *  @throws CannotJudge unless exactly one object makes them */
export function podsOf(stack: Stack, kind: "StatefulSet" | "Deployment", component: string): Pods {
  const found = stack.resources.flatMap((resource) => podsIn(resource, kind, component) ?? []);
  if (found.length !== 1) throw new CannotJudge(`found ${found.length} ${kind}s of ${component}; there must be one`);
  return found[0]!;
}

/** Size of the volume that every pod of a StatefulSet has under a folder.
 *  @throws CannotJudge when the folder is on no volume of the pod's own, or its size cannot be read */
export function volumeBytes({ resource, template }: Pods, folder: string): number {
  const name = containersOf(template)
    .flatMap(({ container }) => container.volumeMounts ?? [])
    .find(({ mountPath }) => folder === mountPath || folder.startsWith(`${mountPath}/`))?.name;
  const claims = (resource.props["spec"]?.volumeClaimTemplates ?? []) as readonly {
    metadata?: { name?: string };
    spec?: { resources?: { requests?: { storage?: string } } };
  }[];
  const at = claims.findIndex(({ metadata }) => metadata?.name === name);
  if (name === undefined || at < 0)
    throw new CannotJudge(`${titleOf(resource)}: ${folder} is on no volume that a pod keeps`);
  const size = claims[at]!.spec?.resources?.requests?.storage;
  try {
    return quantityBytes(String(size));
  } catch {
    throw new CannotJudge(
      `${titleOf(resource)} spec.volumeClaimTemplates[${at}].spec.resources.requests.storage: ${size === undefined ? "is not set" : `found ${JSON.stringify(size)}; not a size such as "50Gi"`}`,
    );
  }
}

import { podOf, type PodTemplate } from "./pods.ts";
import { isObject, type Resource, type Stack } from "./stack.ts";

/** What makes pods that are to be there all the time. */
export interface Workload extends PodTemplate {
  /** How many pods there are; the API's default is 1. */
  readonly replicas: number;
}

/** A workload in a resource; undefined for any other resource, among them what makes pods that end. */
export function workloadIn(resource: Resource): Workload | undefined {
  if (!isObject(resource, "Deployment", "StatefulSet")) return undefined;
  const pod = podOf(resource)!;
  return { ...pod, replicas: (resource.props["spec"]?.replicas as number | undefined) ?? 1 };
}

/** Every workload of a stack. */
export function workloadsOf(stack: Stack): Workload[] {
  return stack.resources.flatMap((resource) => workloadIn(resource) ?? []);
}

/** Every pod that a stack makes. */
export function podsMade(stack: Stack): PodTemplate[] {
  return stack.resources.flatMap((resource) => podOf(resource) ?? []);
}

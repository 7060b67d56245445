import type { PolicyResource } from "@pulumi/policy";

/** A resource as a rule sees it: of the engine, of a render, or of a state file. */
export type Resource = Pick<PolicyResource, "type" | "name" | "urn" | "props"> & {
  readonly opts: Pick<PolicyResource["opts"], "protect" | "ignoreChanges"> & Partial<PolicyResource["opts"]>;
  /** Provider that manages it; undefined for components and providers, and where nobody says. */
  readonly provider?: Pick<NonNullable<PolicyResource["provider"]>, "type" | "name" | "urn"> | undefined;
};

/** What a rule rests on is missing or cannot be read: it must not pass for that. */
export class CannotJudge extends Error {}

export const NAME_LABEL = "app.kubernetes.io/name";

/** Whether the resource is an object of the Kubernetes API, of one of the kinds where some are named. */
export function isObject(resource: Resource, ...kinds: readonly string[]): boolean {
  if (!/^kubernetes:[^:]+\/[^:]+:/.test(resource.type)) return false;
  return kinds.length === 0 || kinds.includes(kindOf(resource));
}

/** Last part of its type: `StatefulSet`. */
export function kindOf(resource: Resource): string {
  return resource.type.split(":").at(-1)!;
}

/** Name of the Kubernetes object, not of the resource in the program. */
export function objectName(resource: Resource): string {
  return String(resource.props["metadata"]?.name);
}

/** `StatefulSet/postgresql-beijing`, for messages. */
export function titleOf(resource: Resource): string {
  return `${kindOf(resource)}/${objectName(resource)}`;
}

/** Namespace of the object; undefined for one that stands in none. */
export function namespaceOf(resource: Resource): string | undefined {
  return resource.props["metadata"]?.namespace as string | undefined;
}

/** Component that an object is a part of, by its label: `postgresql`. */
export function componentOf(resource: Resource): string | undefined {
  const labels = resource.props["metadata"]?.labels as Record<string, string> | undefined;
  return labels?.[NAME_LABEL];
}

/** Text of a file in a component's ConfigMap; undefined when the resource is another one or does not have it. */
export function fileIn(resource: Resource, component: string, file: string): string | undefined {
  if (!isObject(resource, "ConfigMap") || componentOf(resource) !== component) return undefined;
  const data = resource.props["data"] as Record<string, string> | undefined;
  return data?.[file];
}

/** All resources of a stack. */
export class Stack {
  readonly resources: readonly Resource[];

  constructor(resources: readonly Resource[]) {
    this.resources = resources;
  }

  /** The objects of the Kubernetes API, of the given kinds where some are named. */
  objects(...kinds: readonly string[]): Resource[] {
    return this.resources.filter((resource) => isObject(resource, ...kinds));
  }

  /** A component's file and the ConfigMap that holds it.
   *  @throws CannotJudge when there is none */
  file(component: string, file: string): { resource: Resource; text: string } {
    for (const resource of this.resources) {
      const text = fileIn(resource, component, file);
      if (text !== undefined) return { resource, text };
    }
    throw new CannotJudge(`no ConfigMap of ${component} has the file ${file}`);
  }
}

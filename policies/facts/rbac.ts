import { isObject, namespaceOf, objectName, type Resource, type Stack } from "./stack.ts";

/** One rule of a Role. */
export interface RoleRule {
  readonly apiGroups?: readonly string[];
  readonly resources?: readonly string[];
  readonly resourceNames?: readonly string[];
  readonly verbs?: readonly string[];
}

/** What a RoleBinding binds. */
export interface Binding {
  readonly resource: Resource;
  readonly role: { readonly kind: string; readonly name: string };
  readonly subjects: readonly { readonly kind: string; readonly name: string; readonly namespace?: string }[];
}

/** The rules of a Role in a resource; undefined for any other resource. */
export function roleRulesIn(resource: Resource): readonly RoleRule[] | undefined {
  if (!isObject(resource, "Role", "ClusterRole")) return undefined;
  return (resource.props["rules"] ?? []) as readonly RoleRule[];
}

/** Every binding of a role in a stack. */
export function bindingsOf(stack: Stack): Binding[] {
  return stack.objects("RoleBinding").map((resource) => ({
    resource,
    role: resource.props["roleRef"] as Binding["role"],
    subjects: (resource.props["subjects"] ?? []) as Binding["subjects"],
  }));
}

/** Whether a ServiceAccount of this name and namespace is given a role by the stack. */
export function isBound(stack: Stack, name: string, namespace: string | undefined): boolean {
  return bindingsOf(stack).some(({ resource, subjects }) =>
    subjects.some(
      (one) =>
        one.kind === "ServiceAccount" && one.name === name && (one.namespace ?? namespaceOf(resource)) === namespace,
    ),
  );
}

/** A ServiceAccount of the stack; undefined when it has none of that name. */
export function accountOf(stack: Stack, name: string, namespace: string | undefined): Resource | undefined {
  return stack
    .objects("ServiceAccount")
    .find((resource) => objectName(resource) === name && namespaceOf(resource) === namespace);
}

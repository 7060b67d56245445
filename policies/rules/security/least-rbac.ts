import { accountOf, bindingsOf, roleRulesIn, type Binding, type RoleRule } from "../../facts/rbac.ts";
import { namespaceOf, objectName, titleOf, type Stack } from "../../facts/stack.ts";
import { stackRule, type Report } from "../../rule.ts";

/** Verbs by which one gets rights that nobody gave. */
const RISING = ["escalate", "bind", "impersonate"];
/** Subresources that are more than they look: a way into a pod, or to another account's token. */
const DOORS = ["pods/exec", "pods/attach", "pods/portforward", "pods/ephemeralcontainers", "serviceaccounts/token"];
/** Verbs that a list of names restricts. List and watch are restricted by it only where the client asks for one name, and
 *  creation never, as the name is not known yet: https://kubernetes.io/docs/reference/access-authn-authz/rbac/ */
const NAMEABLE = ["get", "update", "patch", "delete"];

export const leastRbac = stackRule({
  name: "least-rbac",
  description:
    "Roles name what they allow: no wildcards, nothing over the whole cluster, no listing of Secrets, names where the API takes them, and nobody but accounts of the stack.",
  severity: "critical",
  why: "A role is what a taken-over process may do. Listing Secrets is reading them all, in every region, as the regions share passwords; escalate, bind and impersonate are the right to any right.",
  remediation:
    "Give a Role the verbs that its component uses (Patroni: endpoints and its own pods; the keeper: listing pods), with resourceNames for get, update, patch and delete, and bind it to the component's ServiceAccount.",
  check({ stack, report }) {
    for (const resource of stack.objects("ClusterRole", "ClusterRoleBinding"))
      report(
        `${titleOf(resource)}: found a right over the whole cluster; allowed are Roles in the namespace`,
        resource,
      );
    const bindings = bindingsOf(stack);
    for (const resource of stack.objects("Role")) {
      const say: Report = (message) => report(`${titleOf(resource)} ${message}`, resource);
      (roleRulesIn(resource) ?? []).forEach((rule, i) => checkRule(rule, `rules[${i}]`, say));
      const bound = bindings.some(
        (one) =>
          one.role.kind === "Role" &&
          one.role.name === objectName(resource) &&
          namespaceOf(one.resource) === namespaceOf(resource),
      );
      if (!bound) say("metadata.name: found no RoleBinding of it; a role that nobody has must go");
    }
    for (const binding of bindings) checkBinding(stack, binding, report);
  },
});

function checkRule(rule: RoleRule, path: string, say: Report): void {
  const { apiGroups = [], resources = [], verbs = [], resourceNames = [] } = rule;
  for (const [key, values] of Object.entries({ apiGroups, resources, verbs })) {
    if (values.some((value) => value.includes("*")))
      say(`${path}.${key}: found ${JSON.stringify(values)}; names are needed, no wildcard`);
  }
  for (const verb of verbs) if (RISING.includes(verb)) say(`${path}.verbs: found ${verb}, which is not allowed`);
  for (const name of resources) if (DOORS.includes(name)) say(`${path}.resources: found ${name}, which is not allowed`);
  const secrets = resources.includes("secrets");
  for (const verb of verbs)
    if (secrets && ["list", "watch"].includes(verb))
      say(`${path}.verbs: found ${verb} of secrets, which is not allowed`);
  const open = verbs.filter((verb) => NAMEABLE.includes(verb));
  if (open.length > 0 && resourceNames.length === 0)
    say(`${path}.resourceNames: found none for ${open.join(", ")} of ${resources.join(", ")}; names are needed`);
}

function checkBinding(stack: Stack, { resource, role, subjects }: Binding, report: Report): void {
  const title = titleOf(resource);
  const namespace = namespaceOf(resource);
  const known = stack.objects("Role").some((one) => objectName(one) === role.name && namespaceOf(one) === namespace);
  if (role.kind !== "Role" || !known)
    report(`${title} roleRef: found ${role.kind}/${role.name}; it must be a Role of the stack`, resource);
  subjects.forEach((subject, i) => {
    const own =
      subject.kind === "ServiceAccount" && accountOf(stack, subject.name, subject.namespace ?? namespace) !== undefined;
    if (!own)
      report(
        `${title} subjects[${i}]: found ${subject.kind}/${subject.name}; it must be a ServiceAccount of the stack`,
        resource,
      );
  });
}

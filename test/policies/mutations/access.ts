import type { Mutation } from "../mutation.ts";
import type { ChangedStack } from "../stack.ts";
import { added, edgePod } from "./objects.ts";

/* eslint-disable @typescript-eslint/no-explicit-any, @typescript-eslint/no-unsafe-call, @typescript-eslint/no-unsafe-return --
   a mutation goes wherever it likes */

const role = (change: (rules: any) => void) => (stack: ChangedStack) =>
  change(stack.object("Role", "postgresql")["rules"]);

export const accessMutations: readonly Mutation[] = [
  {
    rule: "namespace-enforces",
    breaks: "another profile",
    says: /enforce"\]: found "baseline"; it must be "restricted"/,
    change: (stack) =>
      (stack.object("Namespace", "iam")["metadata"].labels["pod-security.kubernetes.io/enforce"] = "baseline"),
  },
  {
    rule: "namespace-enforces",
    breaks: "no profile",
    says: /enforce"\]: found nothing; it must be "restricted"/,
    change: (stack) => delete stack.object("Namespace", "iam")["metadata"].labels["pod-security.kubernetes.io/enforce"],
  },
  {
    rule: "namespace-enforces",
    breaks: "a profile of an old version",
    says: /enforce-version"\]: found "v1\.22"/,
    change: (stack) =>
      (stack.object("Namespace", "iam")["metadata"].labels["pod-security.kubernetes.io/enforce-version"] = "v1.22"),
  },
  {
    rule: "service-account-token",
    breaks: "no account",
    says: /Deployment\/edge spec\.template\.spec\.serviceAccountName: found none/,
    change: edgePod((s) => delete s.serviceAccountName),
  },
  {
    rule: "service-account-token",
    breaks: "the account default",
    says: /serviceAccountName: found default; it must be an account of its own/,
    change: edgePod((s) => (s.serviceAccountName = "default")),
  },
  {
    rule: "service-account-token",
    breaks: "an account from elsewhere",
    says: /serviceAccountName: found builder; the stack has no such ServiceAccount/,
    change: edgePod((s) => (s.serviceAccountName = "builder")),
  },
  {
    rule: "service-account-token",
    breaks: "a token without a role",
    says: /Deployment\/edge spec\.template\.spec\.automountServiceAccountToken: found true; it must be false/,
    change: edgePod((s) => (s.automountServiceAccountToken = true)),
  },
  {
    rule: "service-account-token",
    breaks: "a token by an account",
    says: /ServiceAccount\/edge automountServiceAccountToken: found undefined; it must be false/,
    change: (stack) => delete stack.object("ServiceAccount", "edge")["automountServiceAccountToken"],
  },
  {
    rule: "service-account-token",
    breaks: "a token by a volume",
    says: /volumes\[0\]\.projected\.sources\[0\]: found a serviceAccountToken/,
    change: edgePod(
      (s) =>
        (s.volumes[0] = {
          name: "config",
          projected: { sources: [{ serviceAccountToken: { path: "t" } }, { configMap: { name: "edge" } }] },
        }),
    ),
  },
  {
    rule: "least-rbac",
    breaks: "all verbs",
    says: /Role\/postgresql rules\[0\]\.verbs: found \["\*"\]; names are needed/,
    change: role((rules) => (rules[0].verbs = ["*"])),
  },
  {
    rule: "least-rbac",
    breaks: "all resources",
    says: /rules\[0\]\.resources: found \["\*"\]; names are needed/,
    change: role((rules) => (rules[0].resources = ["*"])),
  },
  {
    rule: "least-rbac",
    breaks: "all API groups",
    says: /rules\[0\]\.apiGroups: found \["\*"\]; names are needed/,
    change: role((rules) => (rules[0].apiGroups = ["*"])),
  },
  {
    rule: "least-rbac",
    breaks: "listing Secrets",
    says: /rules\[0\]\.verbs: found list of secrets, which is not allowed/,
    change: role((rules) => rules[0].resources.push("secrets")),
  },
  {
    rule: "least-rbac",
    breaks: "rights that rise",
    says: /rules\[0\]\.verbs: found impersonate, which is not allowed/,
    change: role((rules) => rules[0].verbs.push("impersonate")),
  },
  {
    rule: "least-rbac",
    breaks: "a way into pods",
    says: /rules\[2\]\.resources: found pods\/exec, which is not allowed/,
    change: role((rules) => rules[2].resources.push("pods/exec")),
  },
  {
    rule: "least-rbac",
    breaks: "rights without names",
    says: /rules\[1\]\.resourceNames: found none for get, patch, update of endpoints/,
    change: role((rules) => delete rules[1].resourceNames),
  },
  {
    rule: "least-rbac",
    breaks: "a role over the cluster",
    says: /ClusterRole\/reader: found a right over the whole cluster/,
    change: added(
      "Role",
      "postgresql",
      (props) => (props["metadata"].name = "reader"),
      "kubernetes:rbac.authorization.k8s.io/v1:ClusterRole",
    ),
  },
  {
    rule: "least-rbac",
    breaks: "a binding over the cluster",
    says: /ClusterRoleBinding\/reader: found a right over the whole cluster/,
    change: added(
      "RoleBinding",
      "postgresql",
      (props) => (props["metadata"].name = "reader"),
      "kubernetes:rbac.authorization.k8s.io/v1:ClusterRoleBinding",
    ),
  },
  {
    rule: "least-rbac",
    breaks: "a role that nobody has",
    says: /Role\/spare metadata\.name: found no RoleBinding of it/,
    change: added("Role", "postgresql", (props) => (props["metadata"].name = "spare")),
  },
  {
    rule: "least-rbac",
    breaks: "a binding of the cluster's role",
    says: /RoleBinding\/more roleRef: found ClusterRole\/view; it must be a Role of the stack/,
    change: added("RoleBinding", "postgresql", (props) => {
      props["metadata"].name = "more";
      props["roleRef"] = { ...props["roleRef"], kind: "ClusterRole", name: "view" };
    }),
  },
  {
    rule: "least-rbac",
    breaks: "a role for everybody",
    says: /subjects\[1\]: found Group\/system:serviceaccounts; it must be a ServiceAccount of the stack/,
    change: (stack) =>
      stack.object("RoleBinding", "postgresql")["subjects"].push({ kind: "Group", name: "system:serviceaccounts" }),
  },
];

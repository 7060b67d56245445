import type { Resource } from "../../../policies/facts/stack.ts";
import type { Mutation } from "../mutation.ts";
import type { ChangedStack } from "../stack.ts";
import { secretMutations } from "./secrets.ts";
import { tlsMutations } from "./tls.ts";

/* eslint-disable @typescript-eslint/no-explicit-any -- a mutation goes wherever it likes */
/* eslint-disable @typescript-eslint/no-unsafe-member-access, @typescript-eslint/no-unsafe-assignment, @typescript-eslint/no-unsafe-return */

type Props = Resource["props"];

/** Changes the spec of the pods that an object makes. */
const pod =
  (kind: string, name: string, change: (spec: any) => void): Mutation["change"] =>
  (stack) =>
    change(stack.object(kind, name)["spec"].template.spec);
const edgePod = (change: (spec: any) => void) => pod("Deployment", "edge", change);
const databasePod = (change: (spec: any) => void) => pod("StatefulSet", "postgresql-beijing", change);
/** Changes the security context of NGINX's container. */
const guarded = (change: (context: any) => void) => edgePod((spec) => change(spec.containers[0].securityContext));
const spec =
  (kind: string, name: string, change: (spec: any) => void): Mutation["change"] =>
  (stack) =>
    change(stack.object(kind, name)["spec"]);
const policy = (name: string, change: (spec: any) => void) => spec("NetworkPolicy", name, change);
const budget = (name: string, change: (spec: any) => void) => spec("PodDisruptionBudget", name, change);
const role = (change: (rules: any) => void) => (stack: ChangedStack) =>
  change(stack.object("Role", "postgresql")["rules"]);

/** Adds a copy of an object, changed. */
const added =
  (kind: string, name: string, change: (props: Props) => void, type?: string): Mutation["change"] =>
  (stack) => {
    const copy = structuredClone(stack.registered(kind, name));
    change(copy.inputs);
    const named = `${copy.name}-added`;
    stack.resources.push({
      ...copy,
      name: named,
      urn: copy.urn.replace(/[^:]+$/, named),
      ...(type === undefined ? {} : { type }),
    });
  };

const podMutations: readonly Mutation[] = (
  [
    [
      "privilege escalation",
      /allowPrivilegeEscalation: found true; allowed is false/,
      guarded((c) => (c.allowPrivilegeEscalation = true)),
    ],
    [
      "privilege escalation not forbidden",
      /allowPrivilegeEscalation: found nothing; allowed is false/,
      guarded((c) => delete c.allowPrivilegeEscalation),
    ],
    [
      "a privileged container",
      /containers\[0\]\.securityContext\.privileged: found true; allowed is false/,
      guarded((c) => (c.privileged = true)),
    ],
    [
      "capabilities kept",
      /capabilities\.drop: found \["NET_RAW"\]; allowed is \["ALL"\]/,
      guarded((c) => (c.capabilities.drop = ["NET_RAW"])),
    ],
    [
      "a capability added",
      /capabilities\.add: found \["SYS_ADMIN"\]; allowed is NET_BIND_SERVICE/,
      guarded((c) => (c.capabilities.add = ["SYS_ADMIN"])),
    ],
    [
      "root file system that can be written to",
      /readOnlyRootFilesystem: found nothing; it must be true/,
      guarded((c) => delete c.readOnlyRootFilesystem),
    ],
    ["the host's /proc", /procMount: found "Unmasked"; allowed is Default/, guarded((c) => (c.procMount = "Unmasked"))],
    [
      "seccomp off in a container",
      /seccompProfile\.type: found "Unconfined"; allowed is RuntimeDefault/,
      guarded((c) => (c.seccompProfile = { type: "Unconfined" })),
    ],
    [
      "no seccomp profile",
      /seccompProfile\.type: found nothing; allowed is RuntimeDefault/,
      edgePod((s) => delete s.securityContext.seccompProfile),
    ],
    [
      "root in a pod",
      /spec\.securityContext\.runAsUser: found 0; allowed is any user but 0/,
      edgePod((s) => (s.securityContext.runAsUser = 0)),
    ],
    ["root in a container", /containers\[0\]\.securityContext\.runAsUser: found 0/, guarded((c) => (c.runAsUser = 0))],
    [
      "root not forbidden",
      /runAsNonRoot: found nothing; allowed is true/,
      edgePod((s) => delete s.securityContext.runAsNonRoot),
    ],
    [
      "root allowed to one container",
      /containers\[0\]\.securityContext\.runAsNonRoot: found false/,
      guarded((c) => (c.runAsNonRoot = false)),
    ],
    ["the host's network", /spec\.hostNetwork: found true; allowed is false/, edgePod((s) => (s.hostNetwork = true))],
    ["the host's processes", /spec\.hostPID: found true; allowed is false/, edgePod((s) => (s.hostPID = true))],
    ["the host's memory", /spec\.hostIPC: found true; allowed is false/, edgePod((s) => (s.hostIPC = true))],
    [
      "a folder of the host",
      /volumes\[8\]: found "hostPath"; allowed is one of configMap/,
      edgePod((s) => s.volumes.push({ name: "host", hostPath: { path: "/" } })),
    ],
    [
      "a port of the host",
      /ports\[0\]\.hostPort: found 80; allowed is none/,
      edgePod((s) => (s.containers[0].ports[0].hostPort = 80)),
    ],
    [
      "an unsafe sysctl",
      /sysctls\[0\]\.name: found "kernel\.msgmax"/,
      edgePod((s) => (s.securityContext.sysctls = [{ name: "kernel.msgmax", value: "1" }])),
    ],
    [
      "another type of SELinux",
      /seLinuxOptions\.type: found "spc_t"/,
      guarded((c) => (c.seLinuxOptions = { type: "spc_t" })),
    ],
    [
      "a user of SELinux",
      /seLinuxOptions\.user: found "system_u"; allowed is none/,
      guarded((c) => (c.seLinuxOptions = { user: "system_u" })),
    ],
    [
      "a role of SELinux",
      /seLinuxOptions\.role: found "system_r"; allowed is none/,
      guarded((c) => (c.seLinuxOptions = { role: "system_r" })),
    ],
    [
      "AppArmor off",
      /appArmorProfile\.type: found "Unconfined"/,
      guarded((c) => (c.appArmorProfile = { type: "Unconfined" })),
    ],
    [
      "AppArmor off by annotation",
      /annotations\["container\.apparmor.*: found "unconfined"/,
      (stack: ChangedStack) => {
        stack.object("Deployment", "edge")["spec"].template.metadata.annotations[
          "container.apparmor.security.beta.kubernetes.io/nginx"
        ] = "unconfined";
      },
    ],
    [
      "a process of the host",
      /windowsOptions\.hostProcess: found true; allowed is false/,
      guarded((c) => (c.windowsOptions = { hostProcess: true })),
    ],
    [
      "a probe of another host",
      /livenessProbe\.host: found "10\.0\.0\.1"/,
      edgePod((s) => (s.containers[0].livenessProbe.httpGet.host = "10.0.0.1")),
    ],
    [
      "a hook that asks another host",
      /lifecycle\.postStart\.host: found "10\.0\.0\.1"/,
      edgePod((s) => (s.containers[0].lifecycle.postStart = { httpGet: { host: "10.0.0.1", port: 80 } })),
    ],
    [
      "a container that prepares the pod",
      /initContainers\[0\]\.securityContext\.privileged: found true/,
      databasePod((s) => (s.initContainers[0].securityContext.privileged = true)),
    ],
  ] as const
).map(([breaks, says, change]) => ({ rule: "pod-security", breaks, says, change }));

const accessMutations: readonly Mutation[] = [
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
      (props) => (props["metadata"] = { name: "reader" }),
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
      (props) => (props["metadata"] = { name: "reader" }),
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

const networkMutations: readonly Mutation[] = [
  {
    rule: "network-policies",
    breaks: "a pod under no policy",
    says: /StatefulSet\/postgresql-beijing: found no NetworkPolicy with Ingress that selects its pods/,
    change: (stack) => stack.remove("NetworkPolicy", "postgresql"),
  },
  {
    rule: "network-policies",
    breaks: "a policy for other pods",
    says: /Deployment\/pgbouncer: found no NetworkPolicy with Ingress/,
    change: policy("pgbouncer", (s) => (s.podSelector.matchLabels["app.kubernetes.io/name"] = "pooler")),
  },
  {
    rule: "network-policies",
    breaks: "a policy without Egress",
    says: /Deployment\/pgbouncer: found no NetworkPolicy with Egress/,
    change: policy("pgbouncer", (s) => (s.policyTypes = ["Ingress"])),
  },
  {
    rule: "network-policies",
    breaks: "nobody named who may come",
    says: /NetworkPolicy\/pgbouncer spec\.ingress\[0\]: found port 6432 open to everybody; peers must be named, but for port none/,
    change: policy("pgbouncer", (s) => delete s.ingress[0].from),
  },
  {
    rule: "network-policies",
    breaks: "every pod named who may come",
    says: /NetworkPolicy\/pgbouncer spec\.ingress\[0\]: found port 6432 open to everybody/,
    change: policy("pgbouncer", (s) => (s.ingress[0].from = [{ podSelector: {} }])),
  },
  {
    rule: "network-policies",
    breaks: "every address named who may come",
    says: /NetworkPolicy\/pgbouncer spec\.ingress\[0\]: found port 6432 open to everybody/,
    change: policy("pgbouncer", (s) => s.ingress[0].from.push({ ipBlock: { cidr: "0.0.0.0/0" } })),
  },
  {
    rule: "network-policies",
    breaks: "a port that is not public at what is",
    says: /NetworkPolicy\/edge spec\.ingress\[0\]: found port 8444 open to everybody; peers must be named, but for port 8080, 8443, 8082/,
    change: policy("edge", (s) => s.ingress[0].ports.push({ protocol: "TCP", port: 8444 })),
  },
  {
    rule: "network-policies",
    breaks: "every port of who may come",
    says: /NetworkPolicy\/pgbouncer spec\.ingress\[0\]\.ports: found none, which means all/,
    change: policy("pgbouncer", (s) => delete s.ingress[0].ports),
  },
  {
    rule: "network-policies",
    breaks: "a range of ports",
    says: /NetworkPolicy\/pgbouncer spec\.ingress\[0\]\.ports: found 6432 to 65535; single ports are needed/,
    change: policy("pgbouncer", (s) => (s.ingress[0].ports[0].endPort = 65535)),
  },
  {
    rule: "network-policies",
    breaks: "every port of where it may go",
    says: /NetworkPolicy\/pgbouncer spec\.egress\[0\]\.ports: found none, which means all/,
    change: policy("pgbouncer", (s) => delete s.egress[0].ports),
  },
  {
    rule: "network-policies",
    breaks: "anywhere where it may go",
    says: /NetworkPolicy\/pgbouncer spec\.egress\[0\]: found port 5432, 8008 open to everybody; peers must be named, but for port 53, 443, 6443/,
    change: policy("pgbouncer", (s) => delete s.egress[0].to),
  },
];

const image = (text: string) => edgePod((s) => (s.containers[0].image = text));
const quantities: readonly Mutation[] = (["requests", "limits"] as const).flatMap((part) =>
  (["cpu", "memory"] as const).map((name) => ({
    rule: "resources",
    breaks: `no ${part} of ${name}`,
    says: new RegExp(`initContainers\\[0\\]\\.resources\\.${part}\\.${name}: found nothing; a quantity is needed`),
    change: databasePod((s) => delete s.initContainers[0].resources[part][name]),
  })),
);

const runMutations: readonly Mutation[] = [
  {
    rule: "pinned-images",
    breaks: "no tag",
    says: /containers\[0\]\.image: found registry\.example\.com:5000\/iam-ha\/edge; it must have a tag/,
    change: image("registry.example.com:5000/iam-ha/edge"),
  },
  {
    rule: "pinned-images",
    breaks: "the tag latest",
    says: /found registry\.example\.com\/iam-ha\/edge:latest; it must have a tag other than latest/,
    change: image("registry.example.com/iam-ha/edge:latest"),
  },
  {
    rule: "pinned-images",
    breaks: "no registry",
    says: /found iam-ha\/edge:0\.1\.0, which names no registry/,
    change: image("iam-ha/edge:0.1.0"),
  },
  {
    rule: "pinned-images",
    breaks: "half a digest",
    says: /found registry\.example\.com\/iam-ha\/edge:0\.1\.0@sha256:12; it must have/,
    change: image("registry.example.com/iam-ha/edge:0.1.0@sha256:12"),
  },
  ...quantities,
  {
    rule: "resources",
    breaks: "a request of nothing",
    says: /containers\[0\]\.resources\.requests\.cpu: found "0"; a quantity is needed/,
    change: edgePod((s) => (s.containers[0].resources.requests.cpu = "0")),
  },
  {
    rule: "probes",
    breaks: "no liveness probe",
    says: /containers\[0\]\.livenessProbe: found none for nginx; it is needed/,
    change: edgePod((s) => delete s.containers[0].livenessProbe),
  },
  {
    rule: "probes",
    breaks: "no readiness probe",
    says: /containers\[0\]\.readinessProbe: found none for nginx; it is needed/,
    change: edgePod((s) => delete s.containers[0].readinessProbe),
  },
  {
    rule: "probes",
    breaks: "no probe of what starts first and stays",
    says: /initContainers\[0\]\.livenessProbe: found none for haproxy/,
    change: pod("Deployment", "pgbouncer", (s) => delete s.initContainers[0].livenessProbe),
  },
  {
    rule: "probes",
    breaks: "no time to start",
    says: /containers\[0\]\.livenessProbe: found neither initialDelaySeconds nor a startupProbe/,
    change: edgePod((s) => delete s.containers[0].startupProbe),
  },
  {
    rule: "probes",
    breaks: "a probe where none should be",
    says: /readinessProbe: found one, and postgresql\/reconciler is also listed as going without/,
    change: databasePod((s) => (s.containers[1].readinessProbe = { exec: { command: ["true"] } })),
  },
  {
    rule: "disruption-budgets",
    breaks: "no budget",
    says: /Deployment\/edge spec\.replicas: found 2 pods and 0 PodDisruptionBudgets/,
    change: (stack) => stack.remove("PodDisruptionBudget", "edge"),
  },
  {
    rule: "disruption-budgets",
    breaks: "a budget for other pods",
    says: /Deployment\/edge spec\.replicas: found 2 pods and 0 PodDisruptionBudgets/,
    change: budget("edge", (s) => (s.selector.matchLabels["app.kubernetes.io/name"] = "nginx")),
  },
  {
    rule: "disruption-budgets",
    breaks: "two budgets",
    says: /Deployment\/edge spec\.replicas: found 2 pods and 2 PodDisruptionBudgets/,
    change: added("PodDisruptionBudget", "edge", (props) => (props["metadata"].name = "edge-too")),
  },
  {
    rule: "disruption-budgets",
    breaks: "no eviction allowed",
    says: /PodDisruptionBudget\/edge spec: found one that lets 0 of 2 pods go at once; it must let one go/,
    change: budget("edge", (s) => (s.maxUnavailable = 0)),
  },
  {
    rule: "disruption-budgets",
    breaks: "no eviction allowed, in percent",
    says: /PodDisruptionBudget\/edge spec: found one that lets 0 of 2 pods go at once/,
    change: budget("edge", (s) => {
      delete s.maxUnavailable;
      s.minAvailable = "51%";
    }),
  },
  {
    rule: "disruption-budgets",
    breaks: "the last pod allowed to go",
    says: /PodDisruptionBudget\/edge spec: found one that lets 2 of 2 pods go at once; at most 1 may/,
    change: budget("edge", (s) => (s.maxUnavailable = "100%")),
  },
  {
    rule: "disruption-budgets",
    breaks: "the masters' majority allowed to go",
    says: /PodDisruptionBudget\/redis spec: found one that lets 2 of 6 pods go at once; at most 1 may/,
    change: budget("redis", (s) => (s.maxUnavailable = 2)),
  },
  {
    rule: "disruption-budgets",
    breaks: "the database's majority allowed to go",
    says: /PodDisruptionBudget\/postgresql spec: found one that lets 2 of 4 pods go at once; at most 1 may/,
    change: budget("postgresql", (s) => {
      delete s.maxUnavailable;
      s.minAvailable = 2;
    }),
  },
  {
    rule: "spread",
    breaks: "no spread",
    says: /topologySpreadConstraints: found none over kubernetes\.io\/hostname/,
    change: databasePod((s) => delete s.topologySpreadConstraints),
  },
  {
    rule: "spread",
    breaks: "a spread of other pods",
    says: /topologySpreadConstraints: found none over kubernetes\.io\/hostname for the pod's own labels/,
    change: databasePod(
      (s) => (s.topologySpreadConstraints[0].labelSelector.matchLabels["app.kubernetes.io/name"] = "edge"),
    ),
  },
  {
    rule: "spread",
    breaks: "a spread as a wish",
    says: /found ScheduleAnyway over kubernetes\.io\/hostname; it must be DoNotSchedule/,
    change: databasePod((s) => (s.topologySpreadConstraints[0].whenUnsatisfiable = "ScheduleAnyway")),
  },
  {
    rule: "spread",
    breaks: "an uneven spread",
    says: /found maxSkew 2 over kubernetes\.io\/hostname; at most 1/,
    change: databasePod((s) => (s.topologySpreadConstraints[0].maxSkew = 2)),
  },
];

export const securityMutations: readonly Mutation[] = [
  ...secretMutations,
  ...tlsMutations,
  ...networkMutations,
  ...podMutations,
  ...accessMutations,
  ...runMutations,
];

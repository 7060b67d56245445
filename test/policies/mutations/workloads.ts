import type { Mutation } from "../mutation.ts";
import { added, databasePod, edgePod, pod, spec } from "./objects.ts";

/* eslint-disable @typescript-eslint/no-explicit-any -- a mutation goes wherever it likes */

const budget = (name: string, change: (spec: any) => void) => spec("PodDisruptionBudget", name, change);
const image = (text: string) => edgePod((s) => (s.containers[0].image = text));
const quantities: readonly Mutation[] = (["requests", "limits"] as const).flatMap((part) =>
  (["cpu", "memory"] as const).map((name) => ({
    rule: "resources",
    breaks: `no ${part} of ${name}`,
    says: new RegExp(`initContainers\\[0\\]\\.resources\\.${part}\\.${name}: found nothing; a quantity is needed`),
    change: databasePod((s) => delete s.initContainers[0].resources[part][name]),
  })),
);

export const workloadMutations: readonly Mutation[] = [
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

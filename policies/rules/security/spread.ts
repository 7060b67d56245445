import { z } from "zod";
import { selects, type LabelSelector } from "../../facts/selector.ts";
import { workloadIn, type Workload } from "../../facts/workloads.ts";
import { resourceRule } from "../../rule.ts";

const NODE = "kubernetes.io/hostname";

const config = z.strictObject({
  demand: z
    .boolean()
    .default(true)
    .describe("whether spreading must be demanded; false where the cluster has one node: it is then asked for"),
  maxSkew: z.int().min(1).default(1).describe("by how many pods of a workload two nodes may differ"),
});

export const spread = resourceRule({
  name: "spread",
  description: "The pods of every workload that has several are spread over nodes, as a demand.",
  severity: "high",
  why: "§5.2.4 and the targets count on one node taking away one pod: all replicas of a database on one node are one failure.",
  remediation:
    "Take topologySpreadConstraints from podDefaults (components/common/pod.ts), and set iam-ha:cluster.multiNode to true.",
  config,
  check({ resource, config, report }) {
    const workload = workloadIn(resource);
    if (!workload || workload.replicas < 2) return;
    if (apart(workload)) return;
    const over = (workload.spec.topologySpreadConstraints ?? []).filter(
      (one) => one.topologyKey === NODE && selects(one.labelSelector, workload.labels),
    );
    const path = `${workload.path}.topologySpreadConstraints`;
    if (over.length === 0) report(`${path}: found none over ${NODE} for the pod's own labels; one is needed`);
    else if (config.demand && !over.some((one) => one.whenUnsatisfiable === "DoNotSchedule"))
      report(`${path}: found ${over[0]!.whenUnsatisfiable} over ${NODE}; it must be DoNotSchedule`);
    else if (!over.some((one) => one.maxSkew <= config.maxSkew))
      report(`${path}: found maxSkew ${over[0]!.maxSkew} over ${NODE}; at most ${config.maxSkew} is allowed`);
  },
});

interface Affinity {
  readonly podAntiAffinity?: {
    readonly requiredDuringSchedulingIgnoredDuringExecution?: readonly {
      readonly topologyKey: string;
      readonly labelSelector?: LabelSelector;
    }[];
  };
}

/** Whether no two pods of the workload may be on one node. */
function apart({ spec, labels }: Workload): boolean {
  const terms = (spec.affinity as Affinity | undefined)?.podAntiAffinity
    ?.requiredDuringSchedulingIgnoredDuringExecution;
  return (terms ?? []).some((term) => term.topologyKey === NODE && selects(term.labelSelector, labels));
}

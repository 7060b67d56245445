import { z } from "zod";
import { COMPONENTS } from "../../../components/common/names.ts";
import { selects, type LabelSelector } from "../../facts/selector.ts";
import { CannotJudge, componentOf, namespaceOf, titleOf, type Resource } from "../../facts/stack.ts";
import { workloadsOf, type Workload } from "../../facts/workloads.ts";
import { stackRule } from "../../rule.ts";

const config = z.strictObject({
  podsPerVote: z
    .record(z.string().min(1), z.int().min(1))
    // Any pod of Redis may be a master: of each master and its replica one votes.
    .default({ [COMPONENTS.postgres]: 1, [COMPONENTS.redis]: 2, [COMPONENTS.witness]: 1 })
    .describe(
      "components of which a majority of votes must stay, and how many pods stand behind a vote; of the others at least one pod must stay",
    ),
});

export const disruptionBudgets = stackRule({
  name: "disruption-budgets",
  description:
    "Every workload with several pods has one PodDisruptionBudget, which lets a pod go and keeps the quorum, or the last one.",
  severity: "high",
  why: "Whoever drains nodes takes pods away at will: without a budget all of a workload at once; with one that allows none the drain never ends; with two of them the API refuses every eviction. Redis Cluster needs a majority of its masters (of 3, one may go), PostgreSQL one replica that has confirmed.",
  remediation: "Give the workload one PodDisruptionBudget over its own labels, with maxUnavailable: 1.",
  config,
  check({ stack, config, report }) {
    const budgets = stack.objects("PodDisruptionBudget");
    for (const workload of workloadsOf(stack)) {
      const { resource, replicas, labels } = workload;
      const over = budgets.filter(
        (budget) =>
          namespaceOf(budget) === namespaceOf(resource) &&
          selects(budget.props["spec"]?.selector as LabelSelector | undefined, labels),
      );
      if (replicas > 1 && over.length !== 1)
        report(
          `${titleOf(resource)} spec.replicas: found ${replicas} pods and ${over.length} PodDisruptionBudgets that select them; there must be one`,
          resource,
        );
      for (const budget of over) {
        const evictions = evictionsOf(budget, replicas);
        const most = replicas > 1 ? mostEvictions(workload, config.podsPerVote) : replicas;
        const found = `${titleOf(budget)} spec: found one that lets ${evictions} of ${replicas} pods go at once`;
        if (evictions < 1) report(`${found}; it must let one go`, budget);
        if (evictions > most) report(`${found}; at most ${most} may`, budget);
      }
    }
  },
});

interface BudgetSpec {
  readonly maxUnavailable?: number | string;
  readonly minAvailable?: number | string;
}

/** How many of the pods a budget lets go at one time, all of them being healthy. Percentages round up, as in the API. */
function evictionsOf(budget: Resource, replicas: number): number {
  const { maxUnavailable, minAvailable } = budget.props["spec"] as BudgetSpec;
  const pods = (value: number | string) => {
    const percent = /^(\d+)%$/.exec(String(value));
    const count = percent ? Math.ceil((Number(percent[1]) * replicas) / 100) : Number(value);
    if (!Number.isInteger(count))
      throw new CannotJudge(`${titleOf(budget)} spec: found ${value}, which is no number of pods`);
    return count;
  };
  if (maxUnavailable !== undefined) return Math.min(pods(maxUnavailable), replicas);
  if (minAvailable !== undefined) return Math.max(0, replicas - pods(minAvailable));
  throw new CannotJudge(`${titleOf(budget)} spec: found neither maxUnavailable nor minAvailable`);
}

/** How many may go while the rest still does its work; one may in any case, as no set is too small to be drained. */
function mostEvictions({ resource, replicas }: Workload, podsPerVote: Readonly<Record<string, number>>): number {
  const pods = podsPerVote[componentOf(resource) ?? ""];
  if (pods === undefined) return replicas - 1;
  return Math.max(1, Math.floor((Math.floor(replicas / pods) - 1) / 2));
}

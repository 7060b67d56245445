import { z } from "zod";
import type { Given } from "./bound.ts";

const seconds = () => z.number().min(0).max(3600);

/** What recovery rests on outside of the stack's files, in seconds: a choice of whoever runs the platform. */
export const assumptionsShape = {
  clientRetrySeconds: seconds()
    .default(10)
    .describe("how long a client waits for an answer before it tries again, in seconds"),
  databaseClientSeconds: seconds()
    .default(10)
    .describe(
      "how long the API waits for a connection to the pooler that says nothing, in seconds (reference API: 10)",
    ),
  cacheClientSeconds: seconds()
    .default(5)
    .describe(
      "how long the API's Redis client takes to leave a master that is gone, in seconds (reference API: socket time-out 2, refresh of the slots every second, time-out 2)",
    ),
  promotionSeconds: seconds()
    .default(5)
    .describe("from the decision to promote a replica until it takes writes, in seconds; measured: 1.2"),
  endpointsSeconds: seconds()
    .default(2)
    .describe("until every node's proxy knows that a pod is not ready, in seconds (kube-proxy: one round a second)"),
  nodeLostSeconds: seconds()
    .default(55)
    .describe(
      "until Kubernetes calls a silent node lost, in seconds: node-monitor-grace-period 50 and node-monitor-period 5. Only pods behind ordinary Services of the edge, the pooler and the controller wait for it",
    ),
  balancerSeconds: seconds()
    .default(30)
    .describe("until the load balancer in front of the edge leaves a node, in seconds (three checks, 10 s apart)"),
  resolverSeconds: seconds()
    .default(5)
    .describe("how long a resolver waits for a name server before it asks the next, in seconds (resolv.conf: 5)"),
  podStartSeconds: seconds()
    .default(60)
    .describe("until a pod that was placed anew serves, its image on the node or not, in seconds"),
} as const;

const assumptions = z.strictObject(assumptionsShape);
export type Assumptions = z.infer<typeof assumptions>;

/** The assumptions as they are when nobody chooses otherwise. */
export const DEFAULT_ASSUMPTIONS: Assumptions = assumptions.parse({});

/** An assumption as a figure. */
export function assumed(all: Assumptions, key: keyof Assumptions): Given {
  return { value: all[key], source: `policy config recovery-time.${key}` };
}

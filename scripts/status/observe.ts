import { kubectl, kubectlJson, type ClusterAccess } from "../kubernetes.ts";
import { redisRoles } from "./redis-roles.ts";
import type { PodFacts, RegionFacts, WorkloadFacts } from "./parts.ts";

const SELECTOR = "app.kubernetes.io/part-of=iam-ha";

/** Reads what a region says of itself.
 *  @throws Error when its API server does not answer in 10 s */
export async function observeRegion(
  region: string,
  namespace: string,
  access: ClusterAccess,
  signal?: AbortSignal,
): Promise<RegionFacts> {
  const options = { timeoutMs: 10_000, ...(signal ? { signal } : {}) };
  const get = (what: string) =>
    kubectlJson<{ items: unknown[] }>(
      access,
      ["get", what, "-n", namespace, "-l", SELECTOR, "--request-timeout=8s"],
      options,
    );
  const [workloads, pods] = await Promise.all([get("statefulsets,deployments"), get("pods")]);
  const facts: PodFacts[] = pods.items as PodFacts[];
  return {
    region,
    workloads: workloads.items as WorkloadFacts[],
    pods: facts,
    redisRoles: await observeRedis(facts, namespace, access, options),
  };
}

/** Asks the first Redis pod that answers; a cache that is down must not take the board down. */
async function observeRedis(
  pods: readonly PodFacts[],
  namespace: string,
  access: ClusterAccess,
  options: { timeoutMs: number },
): Promise<Record<string, string>> {
  const nodes = pods.filter(
    (pod) => pod.metadata.labels?.["app.kubernetes.io/name"] === "redis" && pod.status?.phase === "Running",
  );
  for (const node of nodes) {
    try {
      return redisRoles(
        await kubectl(
          access,
          ["exec", "-n", namespace, node.metadata.name, "-c", "redis", "--", ...REDIS_NODES_COMMAND],
          options,
        ),
      );
    } catch {
      continue;
    }
  }
  return {};
}

/** The image's own wrapper of redis-cli, which takes its password from a file. */
const REDIS_NODES_COMMAND = ["/bin/sh", "/etc/redis-scripts/cli.sh", "CLUSTER", "NODES"];

import { z } from "zod";
import { KEEPER_PATH, keeperOf, nodesOf } from "../../facts/redis.ts";
import { titleOf } from "../../facts/stack.ts";
import { stackRule } from "../../rule.ts";

const config = z.strictObject({
  masters: z.int().min(1).default(3).describe("masters that a region needs, §5.3.1"),
  replicasPerMaster: z.int().min(0).default(1).describe("replicas that each of them needs, §5.3.1"),
});

export const redisSize = stackRule({
  name: "redis-size",
  description: "A region's Redis Cluster has at least three masters with a replica each.",
  severity: "high",
  why: "§5.3.1 of the design: 3 masters + 3 replicas. With fewer than three masters there is no majority to fail over with; a master without a replica takes its share of the sessions with it.",
  remediation: "Set iam-ha:redis.masters to 3 or more and iam-ha:redis.replicasPerMaster to 1 or more.",
  config,
  check({ stack, config, report }) {
    const keeper = keeperOf(stack);
    const pods = nodesOf(stack);
    const { masters, nodes } = keeper;
    if (masters < config.masters)
      report(`${KEEPER_PATH} masters: found ${masters}; at least ${config.masters} are needed`, keeper.resource);
    const needed = Math.max(masters, config.masters) * (1 + config.replicasPerMaster);
    if (nodes.length < needed)
      report(
        `${KEEPER_PATH} nodes: found ${nodes.length} for ${masters} masters; at least ${needed} are needed, as each has ${config.replicasPerMaster} replicas`,
        keeper.resource,
      );
    if (pods.count !== nodes.length)
      report(
        `${titleOf(pods.resource)} spec.replicas: found ${pods.count}; must be the number of nodes that the keeper knows, ${nodes.length}`,
        pods.resource,
      );
  },
});

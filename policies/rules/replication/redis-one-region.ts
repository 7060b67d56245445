import { announces, KEEPER_PATH, keeperOf, nodesOf } from "../../facts/redis.ts";
import { titleOf } from "../../facts/stack.ts";
import { topologyOf } from "../../facts/topology.ts";
import { stackRule } from "../../rule.ts";

export const redisOneRegion = stackRule({
  name: "redis-one-region",
  description: "A Redis Cluster, with all its masters, is in one region only.",
  severity: "critical",
  why: "Masters that are spread over regions would make every second session wait for the wide area, and a cut between regions would stop the writes of whoever is in the minority, or fork them. Between regions the session service copies, and Redis does not replicate.",
  remediation:
    "Leave the keeper's nodes to the program: the pods of the region's own StatefulSet. To have sessions in other regions, see iam-ha:redis.regions.",
  check({ stack, report }) {
    const keeper = keeperOf(stack);
    const pods = nodesOf(stack);
    const { region } = topologyOf(stack);
    if (keeper.region !== region)
      report(
        `${KEEPER_PATH} region: found ${keeper.region}; must be the region of the stack, ${region}`,
        keeper.resource,
      );
    keeper.nodes.forEach((node, i) => {
      for (const key of ["name", "host"] as const) {
        if (!announces(pods, node[key]))
          report(
            `${KEEPER_PATH} nodes.${i}.${key}: found ${node[key]}; must be a pod of ${titleOf(pods.resource)}`,
            keeper.resource,
          );
      }
    });
  },
});

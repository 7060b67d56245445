import { z } from "zod";
import { COMPONENTS } from "../../../components/common/names.ts";
import { podsIn } from "../../facts/sets.ts";
import { titleOf } from "../../facts/stack.ts";
import { resourceRule } from "../../rule.ts";

const config = z.strictObject({
  replicas: z
    .int()
    .min(0)
    .default(3)
    .describe("replicas that a region needs beside its primary, §5.2.1; less where it is not for production"),
});

export const postgresReplicas = resourceRule({
  name: "postgres-replicas",
  description: "A region's database has its primary and at least three replicas.",
  severity: "high",
  why: "§5.2.1 of the design. With three replicas one can be down for maintenance and another fail, and a commit still finds a replica to wait for, which can take over without loss. Standby regions need as many: each of them may be the active one in half a minute.",
  remediation: "Set iam-ha:postgres.replicas (pods, the primary included) to 4 or more.",
  config,
  check({ resource, config, report }) {
    const members = podsIn(resource, "StatefulSet", COMPONENTS.postgres);
    if (!members) return;
    const needed = config.replicas + 1;
    if (members.count < needed)
      report(
        `${titleOf(resource)} spec.replicas: found ${members.count}; at least ${needed} pods are needed: the primary + ${config.replicas} replicas`,
      );
  },
});

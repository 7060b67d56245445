import { z } from "zod";
import { recoveryPoints } from "../../arithmetic/recovery-point.ts";
import { timingsOf } from "../../facts/timings.ts";
import { stackRule } from "../../rule.ts";
import { overruns } from "./overruns.ts";

const config = z.strictObject({
  coreBusinessSeconds: z
    .number()
    .positive()
    .default(60)
    .describe(
      "most seconds of writes that user-authentication, permission-management and tenant-management may lose, §5.4.4",
    ),
  dataServicesSeconds: z
    .number()
    .positive()
    .default(300)
    .describe(
      "most seconds of writes that database-replication, cache-synchronization and backup-restoration may lose, §5.4.4",
    ),
});

export const recoveryPoint = stackRule({
  name: "recovery-point",
  description: "No single fault costs a function more writes than its recovery point objective.",
  severity: "critical",
  why: "§5.4.4 of the design: 1 minute for the core business, 5 minutes for data services. Inside a region nothing that was acknowledged is lost while a replica confirms each commit; to other regions data travels behind, and the bound is what the stack calls healthy. No part of the stack does backup-restoration yet, unless WAL is archived: this rule does not say that it holds.",
  remediation:
    "Make one of the terms that the message names shorter (iam-ha:regionController.maxLagSeconds, iam-ha:links, iam-ha:redis), or agree on another objective and set it in the rule's configuration, where reviewers see it.",
  config,
  check({ stack, config, report }) {
    for (const message of overruns(recoveryPoints(timingsOf(stack)), config)) report(message);
  },
});

import { z } from "zod";
import { assumptionsShape } from "../../arithmetic/assumptions.ts";
import { recoveryTimes } from "../../arithmetic/recovery-time.ts";
import { timingsOf } from "../../facts/timings.ts";
import { stackRule } from "../../rule.ts";
import { overruns } from "./overruns.ts";

const config = z.strictObject({
  coreBusinessSeconds: z
    .number()
    .positive()
    .default(300)
    .describe("longest recovery of user-authentication, permission-management and tenant-management, §5.4.4"),
  dataServicesSeconds: z
    .number()
    .positive()
    .default(600)
    .describe("longest recovery of database-replication, cache-synchronization and backup-restoration, §5.4.4"),
  ...assumptionsShape,
});

export const recoveryTime = stackRule({
  name: "recovery-time",
  description: "After any single fault every function is back within its recovery time objective.",
  severity: "critical",
  why: "§5.4.4 of the design: 5 minutes for the core business, 10 minutes for data services. The bound of each fault is the sum of the stack's own timings, each at its worst; the message shows them all, and what is not counted. Of the loss of the active region the bound has the parts that exist: the takeover is a person's word. No part of the stack does backup-restoration yet: this rule does not say that it holds.",
  remediation:
    "Make one of the terms that the message names shorter (its file and field are beside it), or agree on another objective and set it in the rule's configuration, where reviewers see it.",
  config,
  check({ stack, config, report }) {
    for (const message of overruns(recoveryTimes(timingsOf(stack), config), config)) report(message);
  },
});

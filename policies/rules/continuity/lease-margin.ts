import { z } from "zod";
import { CALLS, leaseNeeds } from "../../arithmetic/lease.ts";
import { REGION_FILE, regionOf, witnessOf } from "../../facts/controller.ts";
import { stackRule } from "../../rule.ts";

const config = z.strictObject({
  maxClockSkewMillis: z
    .int()
    .min(0)
    .max(60_000)
    .default(500)
    .describe(
      "most that the holder's clock and the witness' may drift apart within one time to live of the lease, or stand still, in milliseconds (CockroachDB allows its clocks 500 ms)",
    ),
});

export const leaseMargin = stackRule({
  name: "lease-margin",
  description:
    "The holder of activity learns that it could not renew its lease, and stops, before anyone else can take it.",
  severity: "critical",
  why: "Activity is a lease in the witness: a holder that cannot renew it must stop believing in it by its own clock before the witness lets it go, or two regions are active at once. From one renewal to the next, with a member that hangs, the time-outs of the calls and the drift of clocks must fit into the lease's time to live; and a change of the witness' leader (up to twice its election time-out) must not cost the lease.",
  remediation:
    "Set iam-ha:regionController.leaseTtlSeconds longer, or witnessTimeoutMillis or iam-ha:witness.electionTimeoutMillis shorter.",
  config,
  check({ stack, config, report }) {
    const { witness, resource } = regionOf(stack);
    const { electionMillis } = witnessOf(stack);
    const { maxClockSkewMillis: skew } = config;
    const { leaseTtlSeconds, callTimeoutMillis: call } = witness;
    const ttl = leaseTtlSeconds * 1000;
    const where = `data["${REGION_FILE}"] witness.leaseTtlSeconds`;
    const { rhythm, held, elected } = leaseNeeds({
      leaseTtlSeconds,
      callMillis: call,
      electionMillis,
      skewMillis: skew,
    });
    if (ttl < held)
      report(
        `${where}: found ${leaseTtlSeconds} s; at least ${held / 1000} s is needed: ${rhythm} ms until the next renewal + ${CALLS} × ${call} ms time-outs of its calls + ${skew} ms of clock skew`,
        resource,
      );
    if (ttl < elected)
      report(
        `${where}: found ${leaseTtlSeconds} s; at least ${elected / 1000} s is needed: ${rhythm} ms until the next renewal + 2 × ${electionMillis} ms until the witness has a new leader + ${call} ms time-out of the call + ${skew} ms of clock skew`,
        resource,
      );
  },
});

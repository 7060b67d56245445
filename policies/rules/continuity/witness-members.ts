import { z } from "zod";
import { regionOf, witnessOf } from "../../facts/controller.ts";
import { stackRule } from "../../rule.ts";

const config = z.strictObject({
  roundTripMillis: z
    .number()
    .positive()
    .default(40)
    .describe("longest way there and back between two members, in milliseconds (the three cities: 30 to 40)"),
});

/** etcd's guidance: an election time-out of ten heartbeats, and of ten round trips. */
const TIMES = 10;

export const witnessMembers = stackRule({
  name: "witness-members",
  description:
    "The witness has an odd number of members, three or more, one in every region, and an election time-out that the WAN allows.",
  severity: "critical",
  why: "The witness decides by majority: an even number of members bears no more losses than one fewer, and two in one region would let that region decide alone, or take the majority with it. An election time-out under ten heartbeats or ten round trips replaces healthy leaders (etcd's tuning guide), and each change holds up every renewal.",
  remediation:
    "Keep an odd number of iam-ha:regions; set iam-ha:witness.electionTimeoutMillis to at least ten times heartbeatMillis and ten times the longest round trip.",
  config,
  check({ stack, config, report }) {
    const { members, region, heartbeatMillis, electionMillis, resource } = witnessOf(stack);
    const { regions } = regionOf(stack);
    const say = (path: string, text: string) => report(`data["witness.json"] ${path}: ${text}`, resource);
    const count = members.length;
    if (count < 3 || count % 2 === 0)
      say("members", `found ${count} (${members.join(", ")}); an odd number, and at least 3, is needed`);
    const names = Object.keys(regions);
    const without = names.filter((name) => !members.includes(name));
    const strange = members.filter((name) => !names.includes(name));
    if (without.length > 0) say("members", `found none of ${without.join(", ")}; one per region is needed`);
    if (strange.length > 0)
      say(
        "members",
        `found ${strange.join(", ")}, which the region controller does not know; one per region is allowed`,
      );
    if (!members.includes(region)) say("region", `found ${region}, which is no member`);
    if (electionMillis < TIMES * heartbeatMillis)
      say(
        "etcd --election-timeout",
        `found ${electionMillis} ms; at least ten heartbeats, ${TIMES * heartbeatMillis} ms, is needed`,
      );
    if (electionMillis < TIMES * config.roundTripMillis)
      say(
        "etcd --election-timeout",
        `found ${electionMillis} ms; at least ten round trips, ${TIMES * config.roundTripMillis} ms, is needed`,
      );
  },
});

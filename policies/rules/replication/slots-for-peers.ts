import { z } from "zod";
import { isOn, numberIn, patroniOf, show, slotsOf } from "../../facts/postgres.ts";
import { topologyOf } from "../../facts/topology.ts";
import { stackRule } from "../../rule.ts";

const config = z
  .strictObject({
    memberTtlMinimumSeconds: z
      .int()
      .min(0)
      .default(300)
      .describe("shortest time that WAL is kept for a replica whose pod is away: a node's restart takes minutes"),
    memberTtlMaximumSeconds: z
      .int()
      .min(0)
      .default(86_400)
      .describe("longest time that WAL is kept for a replica whose pod is away, or is no more"),
  })
  .refine((ttl) => ttl.memberTtlMinimumSeconds <= ttl.memberTtlMaximumSeconds, "minimum must not be over maximum");

export const slotsForPeers = stackRule({
  name: "slots-for-peers",
  description: "Every other region has a permanent replication slot here, and absent replicas have theirs for a while.",
  severity: "critical",
  why: "A standby region streams from a slot that is named after it; without one the WAL that it still needs is recycled while it is away, and it must be copied whole over the wide area. The slot for the way back is declared beforehand, in standby regions too: at a takeover there is no time. Slots of replicas outlive their pods by member_slots_ttl: too short and a node's restart means a copy, too long and pods that were removed keep WAL.",
  remediation:
    "Leave the slots to the program, which makes one for each region of iam-ha:regions; set iam-ha:postgres.patroni.memberSlotsTtlSeconds within the limits.",
  config,
  check({ stack, config, report }) {
    const patroni = patroniOf(stack);
    const { shared, postgresql, resource } = patroni;
    const slots = slotsOf(patroni);
    for (const { name, slot } of topologyOf(stack).peers) {
      const where = `${shared.where}.slots.${slot}`;
      const type = slots[slot]?.["type"];
      if (!slots[slot]) report(`${where}: is missing; ${name} needs it to stream from`, resource);
      else if (type !== "physical")
        report(`${where}.type: found ${show(type)}; must be "physical" for ${name} to stream from it`, resource);
    }
    if (!isOn(postgresql, "use_slots", true))
      report(`${postgresql.where}.use_slots: found false; must be true, or there are no permanent slots`, resource);
    const ttl = numberIn(shared, "member_slots_ttl");
    const { memberTtlMinimumSeconds: least, memberTtlMaximumSeconds: most } = config;
    if (ttl < least || ttl > most)
      report(`${shared.where}.member_slots_ttl: found ${ttl} s; must be from ${least} to ${most} s`, resource);
  },
});

import { z } from "zod";
import { sumOf, totalOf, type Term } from "../../counted.ts";
import { isOn, membersOf, numberIn, patroniOf, show, slotsOf } from "../../facts/postgres.ts";
import { topologyOf } from "../../facts/topology.ts";
import { stackRule } from "../../rule.ts";

const config = z.strictObject({
  baseBackups: z
    .int()
    .min(0)
    .default(1)
    .describe("base backups that may run at once beside all streams: two senders and a slot each"),
});

const LEVELS: readonly unknown[] = ["replica", "logical"];

export const walSettings = stackRule({
  name: "wal-settings",
  description: "The WAL holds what replicas need, and there are senders and slots enough for all who stream it.",
  severity: "critical",
  why: "§5.2.1 of the design (wal_level, hot_standby, max_wal_senders, max_replication_slots). Whoever finds no sender or no slot left does not stream: a replica that no commit can wait for, or a standby region that falls behind. Each of these settings takes a restart, so they must be right beforehand.",
  remediation:
    "Raise iam-ha:postgres.parameters.max_wal_senders and max_replication_slots to the sums in the messages; leave wal_level and hot_standby at their defaults.",
  config,
  check({ stack, config, report }) {
    const patroni = patroniOf(stack);
    const { parameters, resource } = patroni;
    const { wal_level: level } = parameters.values;
    if (!LEVELS.includes(level))
      report(`${parameters.where}.wal_level: found ${show(level)}; must be one of ${LEVELS.join(", ")}`, resource);
    if (!isOn(parameters, "hot_standby"))
      report(`${parameters.where}.hot_standby: found off; must be on, or replicas serve no reads`, resource);

    const { peers } = topologyOf(stack);
    const permanent = Object.keys(slotsOf(patroni));
    const others = permanent.filter((slot) => !peers.some((peer) => peer.slot === slot));
    const streams = [
      { count: membersOf(stack).count - 1, of: "replicas" },
      { count: peers.length, of: "other regions" },
      { count: others.length, of: "further permanent slots" },
    ];
    const needed: Record<string, readonly Term[]> = {
      max_wal_senders: [...streams, { count: 2 * config.baseBackups, of: "for base backups" }],
      max_replication_slots: [...streams, { count: config.baseBackups, of: "for base backups" }],
    };
    for (const [name, terms] of Object.entries(needed)) {
      const found = numberIn(parameters, name);
      if (found < totalOf(terms))
        report(`${parameters.where}.${name}: found ${found}; at least ${sumOf(terms)} are needed`, resource);
    }
  },
});

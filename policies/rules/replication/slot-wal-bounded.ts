import { z } from "zod";
import { membersOf, patroniOf, walBytes } from "../../facts/postgres.ts";
import { volumeBytes } from "../../facts/sets.ts";
import { CannotJudge } from "../../facts/stack.ts";
import { stackRule } from "../../rule.ts";

const MIB = 1024 ** 2;

const config = z.strictObject({
  volumePercent: z
    .int()
    .min(1)
    .max(90)
    .default(50)
    .describe("share of the data volume that WAL may take in the worst case, percent"),
  leastMiB: z
    .int()
    .min(16)
    .default(1024)
    .describe("WAL that must be kept for a slot at least, MiB: how much a standby region may miss and still catch up"),
});

/** What WAL a server keeps: for slots, between checkpoints, for replicas without a slot. */
const KEPT = ["max_slot_wal_keep_size", "max_wal_size", "wal_keep_size"] as const;

export const slotWalBounded = stackRule({
  name: "slot-wal-bounded",
  description: "The WAL that slots keep for absent readers has a bound that leaves room on the volume.",
  severity: "critical",
  why: "A slot whose reader is away keeps WAL: without a bound until the primary's disk is full, and then no region writes. A bound that is too small loses the slot in a short outage, and the standby region must be copied whole.",
  remediation:
    "Set iam-ha:postgres.parameters.max_slot_wal_keep_size, or raise iam-ha:postgres.storageSize, so that it fits with max_wal_size and wal_keep_size.",
  config,
  check({ stack, config, report }) {
    const { parameters, postgresql, resource } = patroniOf(stack);
    const where = `${parameters.where}.max_slot_wal_keep_size`;
    const folder = postgresql.values["data_dir"];
    if (typeof folder !== "string") throw new CannotJudge('data["10-patroni.yml"] postgresql.data_dir: is not set');
    const volume = volumeBytes(membersOf(stack), folder);
    const sizes = KEPT.map((name) => ({ name, bytes: walBytes(parameters, name) }));
    const slots = sizes[0]!.bytes;
    if (slots < 0) return report(`${where}: found -1 (no limit); a size is needed`, resource);
    if (slots < config.leastMiB * MIB)
      report(`${where}: found ${mib(slots)}; at least ${config.leastMiB} MiB is needed`, resource);
    const sum = sizes.reduce((total, { bytes }) => total + bytes, 0);
    const room = (volume * config.volumePercent) / 100;
    if (sum > room)
      report(
        `${where}: found ${mib(slots)}; ${sizes.map(({ name, bytes }) => `${name} ${mib(bytes)}`).join(" + ")} = ${mib(sum)} must fit into ${config.volumePercent} % of the volume of ${mib(volume)}, ${mib(room)}`,
        resource,
      );
  },
});

function mib(bytes: number): string {
  return `${Math.round(bytes / MIB)} MiB`;
}

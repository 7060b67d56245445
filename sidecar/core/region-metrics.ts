import { parseLsn } from "./lsn.ts";
import type { RegionStatus } from "./region-status.ts";

type Labels = Readonly<Record<string, string>>;
interface Sample {
  readonly labels?: Labels;
  readonly value: number | undefined;
}

/** The region's state in Prometheus' text format. What is not known has no sample: a number would be a lie. */
export function metricsText(status: RegionStatus, extra: { readonly witnessAgeMillis: number | undefined }): string {
  const { database, witness, links, consistency, active } = status;
  const out: string[] = [];
  const metric = (name: string, type: "gauge" | "counter", help: string, samples: readonly Sample[]) => {
    const known = samples.filter((sample) => sample.value !== undefined);
    if (known.length === 0) return;
    out.push(`# HELP iam_ha_${name} ${help}`, `# TYPE iam_ha_${name} ${type}`);
    for (const { labels = {}, value } of known) out.push(`iam_ha_${name}${labelText(labels)} ${value}`);
  };
  const flag = (value: boolean) => (value ? 1 : 0);

  metric("active", "gauge", "Whether this region is the active one by the witness.", [
    { value: active === undefined ? undefined : flag(active.region === status.region) },
  ]);
  metric("epoch", "gauge", "Fencing token of the active region.", [{ value: active?.epoch }]);
  metric("witness_reachable", "gauge", "Whether the witness answered the last time.", [
    { value: flag(witness.reachable) },
  ]);
  metric("witness_age_seconds", "gauge", "Age of what was read from the witness last.", [
    { value: extra.witnessAgeMillis === undefined ? undefined : extra.witnessAgeMillis / 1000 },
  ]);
  metric(
    "witness_member_healthy",
    "gauge",
    "Whether a member of the witness answers and has a leader.",
    witness.members.map(({ region, healthy }) => ({ labels: { member: region }, value: flag(healthy) })),
  );
  metric(
    "database_state",
    "gauge",
    "State of the region's database: 1 for the one that holds.",
    (["primary", "standby", "starting", "unreachable"] as const).map((state) => ({
      labels: { state },
      value: flag(database.state === state),
    })),
  );
  metric("database_timeline", "gauge", "Timeline of the region's database.", [{ value: database.timeline }]);
  metric("database_position_bytes", "gauge", "Position in the WAL: written on a primary, replayed on a standby.", [
    { value: database.lsn === undefined ? undefined : Number(parseLsn(database.lsn)) },
  ]);
  metric("database_replicas", "gauge", "Streaming replicas inside the region.", [{ value: database.replicas }]);
  metric(
    "slot_active",
    "gauge",
    "Whether somebody streams through the slot.",
    database.slots.map(({ name, active: on }) => ({ labels: { slot: name }, value: flag(on) })),
  );
  metric(
    "slot_retained_bytes",
    "gauge",
    "WAL kept for the slot.",
    database.slots.map(({ name, retainedBytes }) => ({ labels: { slot: name }, value: retainedBytes })),
  );
  const linkLabels = ({ source, kind }: (typeof links)[number]) => ({ source, kind });
  const perLink = (value: (link: (typeof links)[number]) => number | undefined) =>
    links.map((link) => ({ labels: linkLabels(link), value: value(link) }));
  metric(
    "link_healthy",
    "gauge",
    "Whether data flows as it should.",
    perLink((link) => flag(link.healthy)),
  );
  metric(
    "link_lag_seconds",
    "gauge",
    "Time behind the source.",
    perLink((link) => link.lagSeconds),
  );
  metric(
    "link_lag_bytes",
    "gauge",
    "WAL behind the source.",
    perLink((link) => link.lagBytes),
  );
  metric(
    "link_pending_keys",
    "gauge",
    "Keys waiting to be taken over.",
    perLink((link) => link.pendingKeys),
  );
  metric(
    "link_errors_last_hour",
    "gauge",
    "Errors in the last hour.",
    perLink((link) => link.errors),
  );
  metric(
    "link_batches_total",
    "counter",
    "Batches taken over since the start.",
    perLink((link) => link.batches),
  );
  metric("consistency_differences", "gauge", "Rows and keys that differ from the source's, confirmed.", [
    { value: consistency.checkedAt === undefined ? undefined : consistency.differences },
  ]);
  metric("consistency_rows", "gauge", "Rows compared in the last comparison.", [{ value: consistency.rows }]);
  metric("consistency_keys", "gauge", "Session keys compared in the last comparison.", [{ value: consistency.keys }]);
  const kinds = new Map<string, number>();
  for (const { kind } of status.problems) kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
  metric(
    "problems",
    "gauge",
    "Open problems by kind.",
    [...kinds].map(([kind, value]) => ({ labels: { kind }, value })),
  );
  return `${out.join("\n")}\n`;
}

function labelText(labels: Labels): string {
  const parts = Object.entries(labels).map(([name, value]) => `${name}="${escaped(value)}"`);
  return parts.length > 0 ? `{${parts.join(",")}}` : "";
}

function escaped(value: string): string {
  return value.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
}

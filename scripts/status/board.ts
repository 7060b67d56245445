import type { LinkStatus, RegionStatus } from "../../sidecar/core/region-status.ts";
import { columns, type Row } from "./columns.ts";
import type { RegionReport } from "./report.ts";

/** The regions side by side: who is active, databases, links, slots, the witness, whether contents agree, problems.
 *  Empty without a report. */
export function boardText(reports: readonly RegionReport[], color: boolean): string {
  if (reports.length === 0) return "";
  const told = statuses(reports);
  const sections: [header: string[], rows: Row[]][] = [
    [["region", "now", "epoch", "database", "timeline", "LSN", "replicas", "source"], reports.map(regionRow)],
    [
      ["link", "of", "health", "lag", "behind", "errors", "batches", "detail"],
      told.flatMap((status) => status.links.map(linkRow)),
    ],
    [["slot", "at", "used", "WAL", "kept"], told.flatMap(slotRows)],
    [["witness", "health", "role", "version"], witnessRows(told)],
    [["contents", "compared with", "at", "rows", "keys", "differences"], told.map(consistencyRow)],
    [["problem", "of", "subject", "message"], problemRows(reports)],
  ];
  const tables = sections.map(([header, rows]) => columns(header, rows, color)).filter((lines) => lines.length > 0);
  return tables.map((lines) => lines.join("\n")).join("\n\n");
}

/** What is not as it should be, a line each; empty when all is well. */
export function boardProblems(reports: readonly RegionReport[]): string[] {
  const told = statuses(reports);
  return [
    ...told.flatMap(({ links }) =>
      links
        .filter((link) => !link.healthy)
        .map(
          (link) => `${link.source} > ${link.target} (${link.kind}): ${link.detail || link.lastError || "unhealthy"}`,
        ),
    ),
    ...witnessMembers(told)
      .filter(({ unseenBy }) => unseenBy.length > 0)
      .map(({ region, unseenBy }) => `the witness' member of ${region}: not healthy for ${unseenBy.join(", ")}`),
    ...problemRows(reports).map(({ cells: [kind, region, subject, message] }) =>
      [`${region}:`, kind, subject, message].filter(Boolean).join(" "),
    ),
  ];
}

function statuses(reports: readonly RegionReport[]): RegionStatus[] {
  return reports.flatMap((report) => ("status" in report ? [report.status] : []));
}

function regionRow(report: RegionReport): Row {
  if ("error" in report) return { cells: [report.region, "unknown", ...Array<string>(5).fill("-"), ""], sick: true };
  const { region, active, database } = report.status;
  const now = active === undefined ? "unknown" : active.region === region ? "active" : "standby";
  const source =
    database.source === undefined ? "-" : `${database.source}${database.streaming ? "" : " (not streaming)"}`;
  const expected = now === "active" ? "primary" : "standby";
  return {
    cells: [
      region,
      now,
      active === undefined ? "-" : String(active.epoch),
      database.state,
      String(database.timeline ?? "-"),
      database.lsn ?? "-",
      String(database.replicas),
      source,
    ],
    sick: now === "unknown" || database.state !== expected || (expected === "standby" && !database.streaming),
  };
}

function linkRow(link: LinkStatus): Row {
  return {
    cells: [
      `${link.source} > ${link.target}`,
      link.kind,
      link.healthy ? "healthy" : "NOT HEALTHY",
      link.lagSeconds === undefined ? "?" : `${seconds(link.lagSeconds)} s`,
      link.kind === "postgresql"
        ? bytes(link.lagBytes)
        : link.pendingKeys === undefined
          ? "?"
          : `${link.pendingKeys} keys`,
      String(link.errors),
      link.batches === undefined ? "-" : String(link.batches),
      link.detail || (link.healthy ? "" : (link.lastError ?? "")),
    ],
    sick: !link.healthy,
  };
}

function slotRows({ region, database }: RegionStatus): Row[] {
  return database.slots.map((slot) => ({
    cells: [
      slot.name,
      region,
      slot.active ? "in use" : "unused",
      slot.walStatus ?? "-",
      slot.retainedBytes === undefined ? "-" : bytes(slot.retainedBytes),
    ],
    sick: slot.walStatus === "lost" || slot.walStatus === "unreserved",
  }));
}

interface Member {
  readonly region: string;
  /** Regions that are told but do not see this member healthy. */
  readonly unseenBy: readonly string[];
  readonly leader: boolean;
  readonly version: string;
}

/** The members as all regions see them together: each asks for itself, and one that is cut off sees others than the
 *  rest. */
function witnessMembers(told: readonly RegionStatus[]): Member[] {
  const names = [...new Set(told.flatMap(({ witness }) => witness.members.map(({ region }) => region)))].sort();
  return names.map((region) => {
    const views = told.map((status) => ({
      by: status.region,
      member: status.witness.members.find((member) => member.region === region),
    }));
    return {
      region,
      unseenBy: views.filter(({ member }) => member?.healthy !== true).map(({ by }) => by),
      leader: views.some(({ member }) => member?.healthy === true && member.leader),
      version: views.map(({ member }) => member?.version ?? "").find((version) => version !== "") ?? "-",
    };
  });
}

function witnessRows(told: readonly RegionStatus[]): Row[] {
  return witnessMembers(told).map(({ region, unseenBy, leader, version }) => ({
    cells: [
      region,
      unseenBy.length === 0
        ? "healthy"
        : `NOT HEALTHY${unseenBy.length < told.length ? ` for ${unseenBy.join(", ")}` : ""}`,
      leader ? "leader" : "follower",
      version,
    ],
    sick: unseenBy.length > 0,
  }));
}

function consistencyRow({ region, consistency: seen }: RegionStatus): Row {
  return {
    cells: [
      region,
      seen.source ?? "-",
      seen.checkedAt ?? "not yet",
      String(seen.rows),
      String(seen.keys),
      String(seen.differences),
    ],
    sick: seen.differences > 0,
  };
}

function problemRows(reports: readonly RegionReport[]): Row[] {
  const told = statuses(reports);
  const rows = reports.flatMap((report): string[][] => {
    if ("error" in report) return [["no-status", report.region, "", report.error]];
    const { region, witness, active, problems } = report.status;
    const own = problems.map(({ kind, subject, message }) => [kind, region, subject, message]);
    if (!witness.reachable)
      own.unshift(["witness-away", region, "", witness.lastError ?? "the witness does not answer"]);
    else if (active === undefined) own.unshift(["nobody-active", region, "", "no region is known to be active"]);
    return own;
  });
  const words = told.flatMap(({ region, active }) =>
    active === undefined ? [] : [{ region, word: `${active.region} under epoch ${active.epoch}` }],
  );
  if (new Set(words.map(({ word }) => word)).size > 1) {
    const views = words.map(({ region, word }) => `${region} says ${word}`).join(", ");
    rows.unshift(["views-differ", words.map(({ region }) => region).join(", "), "", views]);
  }
  return rows.map((cells) => ({ cells, sick: true }));
}

function seconds(value: number): string {
  return value < 10 ? value.toFixed(1) : String(Math.round(value));
}

function bytes(value: number | undefined): string {
  if (value === undefined) return "?";
  if (value < 1024) return `${value} B`;
  const units = ["KiB", "MiB", "GiB", "TiB"];
  const power = Math.min(Math.floor(Math.log2(value) / 10), units.length);
  return `${(value / 1024 ** power).toFixed(1)} ${units[power - 1]}`;
}

import { setTimeout as sleep } from "node:timers/promises";
import { COMPONENTS } from "../../components/common/names.ts";
import { DATABASE_WAITS } from "../../sidecar/core/region-status.ts";
import { readRegion } from "../commands/status.ts";
import type { DeployedRegion } from "../deployment.ts";
import { regionRole } from "../local/values/overlay.ts";
import type { PartRow } from "../status/parts.ts";
import type { RegionReport } from "../status/report.ts";
import { bar } from "./progress.ts";

/** A region that is not healthy after this time is an error; the first start of a database on a slow disk takes minutes. */
const HEALTHY_LIMIT_MS = 10 * 60_000;
/** How long nothing but the database may be missing before that is believed: a source that is starting answers by then. */
const WAITS_LIMIT_MS = 60_000;
/** Parts that are not ready before their region's database is. */
const NEED_DATABASE: readonly string[] = [COMPONENTS.postgres, COMPONENTS.pooler, COMPONENTS.api];

/** Waits until every part of a region is healthy, or until all that is missing is a database that another region has and
 *  does not give just now: a region that stands by goes on by itself when it does.
 *  @returns what the region's database waits for; undefined when every part is healthy
 *  @throws Error with every part that is not healthy after 10 min */
export async function waitHealthy(
  place: DeployedRegion,
  signal: AbortSignal,
  onText: (text: string) => void,
): Promise<string | undefined> {
  const end = Date.now() + HEALTHY_LIMIT_MS;
  let waitsSince: number | undefined;
  let told = "";
  for (;;) {
    const { rows, report } = await readRegion(place, signal);
    const healthy = rows.filter((row) => row.healthy).length;
    if (healthy === rows.length) return undefined;
    signal.throwIfAborted();
    const waits = regionRole(place.region) === "active" ? undefined : onlyDatabaseWaits(rows, report);
    waitsSince = waits === undefined ? undefined : (waitsSince ?? Date.now());
    if (waitsSince !== undefined && Date.now() - waitsSince > WAITS_LIMIT_MS) return waits;
    const sick = rows.filter((row) => !row.healthy).map((row) => `${row.pod || row.part} (${row.detail})`);
    if (Date.now() > end)
      throw new Error(`${place.region} is not healthy after ${HEALTHY_LIMIT_MS / 60_000} min: ${sick.join("; ")}`);
    const text = `${bar(healthy / rows.length)} ${place.region}: waiting for ${sick[0]}${sick.length > 1 ? ` and ${sick.length - 1} more` : ""}`;
    // Where there is no terminal, each is a line of its own.
    if (text !== told) onText(text);
    told = text;
    await sleep(1000, undefined, { signal });
  }
}

/** What the region's database waits for, when nothing else is missing but what needs it. */
export function onlyDatabaseWaits(rows: readonly PartRow[], report: RegionReport | undefined): string | undefined {
  if (rows.some((row) => !row.healthy && !NEED_DATABASE.includes(row.part))) return undefined;
  if (report === undefined || "error" in report) return undefined;
  return report.status.problems.find(({ kind }) => kind === DATABASE_WAITS)?.message;
}

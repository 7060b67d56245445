import { loadDeployment, type DeployedRegion } from "../deployment.ts";
import { accessTo } from "../start/access.ts";
import { boardProblems, boardText } from "../status/board.ts";
import { readReport } from "../status/controllers.ts";
import { observeRegion } from "../status/observe.ts";
import { assess, type PartRow } from "../status/parts.ts";
import type { RegionReport } from "../status/report.ts";
import { statusTable } from "../status/table.ts";
import { watch } from "../status/watch.ts";

export interface StatusOptions {
  readonly json: boolean;
  readonly watch: boolean;
  readonly instance: string;
}

/** Everything that `npm run status` shows. */
export interface Board {
  /** Every part of every region. */
  readonly parts: readonly PartRow[];
  /** What each region's controller says; regions without one are left out. */
  readonly regions: readonly RegionReport[];
}

/** Prints every part with its role and health, and the regions side by side; exit status 1 where a part, a link or the
 *  witness is not healthy, or nothing runs. */
export async function status(options: StatusOptions): Promise<void> {
  if (options.watch && options.json) throw new Error("give --json or --watch, not both");
  const color = hasColors();
  if (options.watch) {
    const last = await watch({
      read: (signal) => readBoard(options.instance, signal),
      text: (board) => boardOf(board, color),
      gist,
    });
    process.exitCode = last !== undefined && isHealthy(last) ? 0 : 1;
    return;
  }
  const board = await readBoard(options.instance);
  const healthy = isHealthy(board);
  process.stdout.write(`${options.json ? JSON.stringify({ healthy, ...board }, null, 2) : boardOf(board, color)}\n`);
  process.exitCode = healthy ? 0 : 1;
}

/** Whether standard output is a terminal that shows colors, and nobody has asked for none (NO_COLOR). */
export function hasColors(): boolean {
  return process.stdout.isTTY && process.stdout.hasColors();
}

/** The board as text: the table of parts, then the regions. */
export function boardOf(board: Board, color: boolean): string {
  return [statusTable(board.parts, color), boardText(board.regions, color)].filter((text) => text !== "").join("\n\n");
}

/** Whether every part, every link and the witness are healthy, and no region has a problem. */
export function isHealthy({ parts, regions }: Board): boolean {
  return parts.length > 0 && parts.every((row) => row.healthy) && boardProblems(regions).length === 0;
}

/** What of a board is worth a new one where there is no terminal to draw on: not every step of a position or a lag. */
function gist({ parts, regions }: Board): string {
  const states = regions.map((report) =>
    "error" in report
      ? report
      : [
          report.status.active,
          report.status.database.state,
          report.status.database.timeline,
          report.status.database.source,
          report.status.database.slots.map(({ name, active, walStatus }) => [name, active, walStatus]),
          report.status.consistency.differences,
        ],
  );
  return JSON.stringify([parts, states, boardProblems(regions)]);
}

/** The board of every region that was started. */
export async function readBoard(instance: string, signal?: AbortSignal): Promise<Board> {
  const { regions } = loadDeployment(instance);
  const seen = await Promise.all(regions.map((region) => readRegion(region, signal)));
  return {
    parts: seen.flatMap(({ rows }) => rows),
    regions: seen.flatMap(({ report }) => (report === undefined ? [] : [report])),
  };
}

/** Every part of every region that was started. */
export async function readStatus(instance: string, signal?: AbortSignal): Promise<readonly PartRow[]> {
  const { regions } = loadDeployment(instance);
  return (await Promise.all(regions.map((region) => readRegion(region, signal, false)))).flatMap(({ rows }) => rows);
}

/** One region's rows, and what its controller says; a region whose API server does not answer is one unhealthy row. */
export async function readRegion(
  place: DeployedRegion,
  signal?: AbortSignal,
  withReport = true,
): Promise<{ rows: readonly PartRow[]; report?: RegionReport | undefined }> {
  const { region, namespace } = place;
  const one = (part: string, detail: string) => [{ region, part, pod: "", role: "", healthy: false, detail }];
  try {
    const facts = await observeRegion(region, namespace, accessTo(place), signal);
    const rows = assess(facts);
    const report = withReport ? await readReport(facts, namespace, accessTo(place), signal) : undefined;
    return { rows: rows.length > 0 ? rows : one("platform", "nothing is deployed"), report };
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    const report = { region, error: "its cluster's API server does not answer" };
    return { rows: one("kubernetes", why.split("\n")[0]!), report };
  }
}

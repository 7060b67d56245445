import { loadDeployment, type DeployedRegion } from "../deployment.ts";
import { accessTo } from "../start/access.ts";
import { observeRegion } from "../status/observe.ts";
import { assess, type PartRow } from "../status/parts.ts";
import { statusTable } from "../status/table.ts";

/** Prints every part with its role and health; exit status 1 where one is not healthy or nothing runs. */
export async function status(options: { json: boolean; instance: string }): Promise<void> {
  const rows = await readStatus(options.instance);
  process.stdout.write(
    options.json ? `${JSON.stringify(rows, null, 2)}\n` : `${statusTable(rows, process.stdout.isTTY)}\n`,
  );
  process.exitCode = rows.length > 0 && rows.every((row) => row.healthy) ? 0 : 1;
}

/** The board's rows of every region that was started. */
export async function readStatus(instance: string, signal?: AbortSignal): Promise<PartRow[]> {
  const { regions } = loadDeployment(instance);
  const rows = await Promise.all(regions.map((region) => regionRows(region, signal)));
  return rows.flat();
}

/** One region's rows; a region whose API server does not answer is one unhealthy row. */
export async function regionRows(place: DeployedRegion, signal?: AbortSignal): Promise<PartRow[]> {
  try {
    const rows = assess(await observeRegion(place.region, place.namespace, accessTo(place), signal));
    if (rows.length > 0) return rows;
    return [
      { region: place.region, part: "platform", pod: "", role: "", healthy: false, detail: "nothing is deployed" },
    ];
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    return [
      { region: place.region, part: "kubernetes", pod: "", role: "", healthy: false, detail: why.split("\n")[0]! },
    ];
  }
}

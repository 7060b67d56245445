import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { bringUp } from "../commands/start.ts";
import { downRegions } from "../local/index.ts";
import { planInstance } from "../local/plan/instance.ts";
import { report, seconds } from "./report.ts";

const INSTANCE = "bench";

/** Time of a start by stage, of Beijing if not said otherwise: cold (own empty caches, only with IAM_HA_BENCH_COLD=1: a
 *  quarter of an hour of building), warm (caches there, no data), with nothing to do, and after a stop (data there). */
export async function benchStart(regions: readonly string[] = ["beijing"], name = "start"): Promise<void> {
  const columns: [string, Readonly<Record<string, number>>][] = [];
  const measure = async (what: string) => {
    const begun = Date.now();
    const { timings } = await bringUp({ regions: [...regions], instance: INSTANCE });
    columns.push([what, { ...timings, total: Date.now() - begun }]);
  };
  const down = (wipe: boolean) => downRegions("all", { instance: INSTANCE, wipe });
  await down(true);
  try {
    if (process.env["IAM_HA_BENCH_COLD"] === "1") await withEmptyCaches(() => measure("cold"), down);
    await measure("warm, no data");
    await measure("again, nothing to do");
    await down(false);
    await measure("after a stop, data kept");
  } finally {
    await down(true);
  }
  const steps = [...new Set(columns.flatMap(([, timings]) => Object.keys(timings)))];
  report({
    name,
    title: `Time of \`npm start\` by stage: ${regions.join(", ")}`,
    command: `${process.env["IAM_HA_BENCH_COLD"] === "1" ? "IAM_HA_BENCH_COLD=1 " : ""}npm run bench -- ${name}`,
    method:
      "Wall-clock time of each step of a start; cold builds Kubernetes, CoreDNS and the images from sources and Debian's packages, with the Go module cache as it is.",
    header: ["step", ...columns.map(([what]) => what)],
    rows: steps.map((step) => [
      step,
      ...columns.map(([, timings]) => (timings[step] === undefined ? "—" : seconds(timings[step]))),
    ]),
    remarks: [`Aims: warm within ${regions.length > 1 ? 4 : 2} minutes, nothing to do within 15 s.`],
  });
}

/** Caches of our own and Go's build cache in an empty folder, for the time of `work`. */
async function withEmptyCaches(work: () => Promise<void>, down: (wipe: boolean) => Promise<void>): Promise<void> {
  const cache = planInstance(process.env, INSTANCE).cache;
  const folder = mkdtempSync(join(cache, "..", "iam-ha-bench-"));
  const kept = { XDG_CACHE_HOME: process.env["XDG_CACHE_HOME"], GOCACHE: process.env["GOCACHE"] };
  Object.assign(process.env, { XDG_CACHE_HOME: folder, GOCACHE: join(folder, "go-build") });
  try {
    await work();
    await down(true);
  } finally {
    for (const [name, value] of Object.entries(kept)) {
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    }
    rmSync(folder, { recursive: true, force: true });
  }
}

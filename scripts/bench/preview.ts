import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { DEFAULT_REGIONS } from "../../stacks/topology.ts";
import { ROOT } from "../paths.ts";
import { median, report, seconds } from "./report.ts";

const RUNS = 7;

/** Time of a whole render of one region, process start included: what a person waits for. */
export async function benchPreview(): Promise<void> {
  const rows = Object.keys(DEFAULT_REGIONS).map((region) => {
    const times = Array.from({ length: RUNS }, () => {
      const begun = Date.now();
      execFileSync(process.execPath, [join(ROOT, "scripts/main.ts"), "render", region], {
        stdio: ["ignore", "ignore", "inherit"],
        timeout: 60_000,
      });
      return Date.now() - begun;
    });
    return [region, seconds(median(times)), seconds(Math.min(...times)), seconds(Math.max(...times))];
  });
  report({
    name: "preview",
    title: "Time of a render of one region",
    command: "npm run bench -- preview",
    method: `\`render <region>\` without the engine, ${RUNS} runs each, process start included.`,
    header: ["region", "median", "min", "max"],
    rows,
    remarks: ["Aim: within 5 s."],
  });
}

import { downRegions, regionStatus } from "../local/index.ts";
import { planInstance } from "../local/plan/instance.ts";
import { bringUp } from "../commands/start.ts";
import { buildImages } from "../images/index.ts";
import { ensureScanners } from "../scanners/programs.ts";
import { installEngines, installForScanners } from "./packages.ts";
import { DEFAULT_REGIONS } from "../../stacks/topology.ts";
import type { Layer } from "./layers.ts";

/** Instance of the test run: its own clusters, so that a platform that runs on the machine is left alone. */
export const TEST_INSTANCE = "test";

/** Makes what a layer needs; `finish` takes away what must not stay.
 *  @throws Error in one sentence when it can't be had */
export async function prepare(needs: Layer["needs"], signal: AbortSignal): Promise<void> {
  switch (needs) {
    case "nothing":
      return;
    case "scanners":
      await installForScanners(signal);
      await ensureScanners({ cache: planInstance(process.env).cache, signal, onProgress: builds() });
      return;
    case "engines":
      await installEngines(signal);
      return;
    case "images":
      await buildImages({ signal, onProgress: progress() });
      return;
    case "regions":
      return regions();
  }
}

/** All regions running. Those that ran before the tests are used as they are and left running; those of the test's own
 *  instance are left for the next layer, and `finish` takes them down. */
async function regions(): Promise<void> {
  process.env["IAM_HA_INSTANCE"] ??= TEST_INSTANCE;
  const instance = process.env["IAM_HA_INSTANCE"];
  const running = (await regionStatus({ instance })).filter(({ state }) => state === "running");
  if (running.length === 0) started = instance;
  await bringUp({ regions: Object.keys(DEFAULT_REGIONS), instance });
}

/** The instance whose regions were started here. */
let started: string | undefined;

/** Takes down what was brought up for the layers. */
export async function finish(): Promise<void> {
  if (started !== undefined) await downRegions("all", { instance: started, wipe: true });
  started = undefined;
}

/** A line where a build begins to compile and where it ends: the packages between are hundreds. */
function builds(): (detail: string) => void {
  let last = "";
  return (detail) => {
    const step = detail.replace(/ \S*[./]\S*$/, "");
    if (step !== last) process.stdout.write(`  ${step}\n`);
    last = step;
  };
}

/** A line for each new step; builds of many minutes must not look like nothing. */
function progress(): (event: { image: string; step: string; detail?: string }) => void {
  let last = "";
  return ({ image, step }) => {
    const text = `  ${image}: ${step}\n`;
    if (text !== last) process.stdout.write(text);
    last = text;
  };
}

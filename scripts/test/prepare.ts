import { downRegions, regionStatus } from "../local/index.ts";
import { bringUp } from "../commands/start.ts";
import { buildImages } from "../images/index.ts";
import { installEngines } from "./packages.ts";
import type { Layer } from "./layers.ts";

/** Instance of the test run: its own clusters, so that a platform that runs on the machine is left alone. */
export const TEST_INSTANCE = "test";

/** Makes what a layer needs, and gives what takes it away again.
 *  @throws Error in one sentence when it can't be had */
export async function prepare(needs: Layer["needs"], signal: AbortSignal): Promise<() => Promise<void>> {
  const nothing = async () => {};
  switch (needs) {
    case "nothing":
      return nothing;
    case "engines":
      await installEngines(signal);
      return nothing;
    case "images":
      await buildImages({ signal, onProgress: progress() });
      return nothing;
    case "region":
      return region();
  }
}

/** A running Beijing. One that ran before the tests is used as it is and left running. */
async function region(): Promise<() => Promise<void>> {
  process.env["IAM_HA_INSTANCE"] ??= TEST_INSTANCE;
  const instance = process.env["IAM_HA_INSTANCE"];
  const ran = (await regionStatus({ instance })).some(
    (status) => status.region === "beijing" && status.state === "running",
  );
  const end = async () => {
    if (!ran) await downRegions("all", { instance, wipe: true });
  };
  try {
    await bringUp({ regions: ["beijing"], instance });
  } catch (error) {
    await end();
    throw error;
  }
  return end;
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

import { Listr } from "listr2";
import { contextStep } from "../start/contexts.ts";
import type { StartContext } from "../start/context.ts";
import { failureText } from "../start/each-region.ts";
import { embeddedSteps } from "../start/embedded.ts";
import { platformSteps } from "../start/platform.ts";
import { printSummary } from "../start/summary.ts";
import { saveTimings } from "../start/timings.ts";

export interface StartOptions {
  readonly regions: string[];
  readonly contexts?: Record<string, string>;
  readonly instance: string;
}

/** Brings the platform up and says where it is. Does only what is missing; may be interrupted at any point and goes on
 *  at the next start. A region that fails leaves the others as they are.
 *  @throws Error with every region that failed, after the summary of those that are up */
export async function start(options: StartOptions): Promise<void> {
  const context = await runSteps(options);
  await printSummary(context);
  if (context.failures.length > 0) throw new Error(failureText(context.failures));
}

/** The steps of a start, without the closing words.
 *  @throws Error with every region that failed */
export async function bringUp(options: StartOptions): Promise<StartContext> {
  const context = await runSteps(options);
  if (context.failures.length > 0) throw new Error(failureText(context.failures));
  return context;
}

async function runSteps(options: StartOptions): Promise<StartContext> {
  const abort = new AbortController();
  const interrupted = () =>
    abort.abort(new Error("interrupted; the next start goes on from here, `npm stop` ends what is running"));
  process.on("SIGINT", interrupted).on("SIGTERM", interrupted);
  try {
    const context: StartContext = {
      instance: options.instance,
      signal: abort.signal,
      started: Date.now(),
      images: [],
      places: [],
      waiting: new Set(),
      failures: [],
      timings: {},
    };
    const tasks = [
      ...(options.contexts ? [contextStep(options.contexts)] : embeddedSteps(options.regions)),
      ...platformSteps(),
    ];
    await new Listr<StartContext, "default", "verbose">(tasks, {
      renderer: "default",
      fallbackRenderer: "verbose",
      rendererOptions: { timer: TIMER },
      fallbackRendererOptions: { timer: TIMER, logTitleChange: true },
      registerSignalListeners: false,
    }).run(context);
    saveTimings(context);
    return context;
  } finally {
    process.off("SIGINT", interrupted).off("SIGTERM", interrupted);
  }
}

const TIMER = {
  condition: true,
  field: (milliseconds: number) => `${(milliseconds / 1000).toFixed(1)} s`,
  format: () => (text?: string) => text ?? "",
};

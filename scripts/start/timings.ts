import type { ListrTask } from "listr2";
import { join } from "node:path";
import { writePrivate } from "../private-file.ts";
import type { StartContext } from "./context.ts";
import { instanceFolder } from "./folders.ts";

/** Notes how long a step takes: `npm run bench -- start` reads it. For steps that do their work themselves, not for those
 *  that hand on a list of others. */
export function timed(name: string, step: ListrTask<StartContext>): ListrTask<StartContext> {
  return {
    ...step,
    task: async (context, task) => {
      const begun = Date.now();
      context.signal.throwIfAborted();
      await step.task(context, task);
      context.timings[name] = Date.now() - begun;
    },
  };
}

/** Keeps the times of a start, in milliseconds. */
export function saveTimings(context: StartContext): void {
  const timings = { steps: context.timings, total: Date.now() - context.started };
  writePrivate(join(instanceFolder(context.instance), "last-start.json"), `${JSON.stringify(timings, null, 2)}\n`);
}

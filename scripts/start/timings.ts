import { join } from "node:path";
import { writePrivate } from "../private-file.ts";
import type { StartContext } from "./context.ts";
import { instanceFolder } from "./folders.ts";

/** Time of each step of the last start, in milliseconds. */
export interface StartTimings {
  readonly steps: Readonly<Record<string, number>>;
  readonly total: number;
}

export function timingsFile(instance: string): string {
  return join(instanceFolder(instance), "last-start.json");
}

export function saveTimings(context: StartContext): void {
  const timings: StartTimings = { steps: context.timings, total: Date.now() - context.started };
  writePrivate(timingsFile(context.instance), `${JSON.stringify(timings, null, 2)}\n`);
}

import { priorityOf } from "../local/values/overlay.ts";

/** Regions in the order in which they are worked on: the one that is to be active, then by priority. */
export function byPriority<Name extends string>(names: readonly Name[]): Name[] {
  return [...names].sort((a, b) => priorityOf(a) - priorityOf(b));
}

import type { DeployedRegion } from "../deployment.ts";
import type { BuiltImage } from "../images/index.ts";

/** What the steps of a start hand on to each other. */
export interface StartContext {
  readonly instance: string;
  readonly signal: AbortSignal;
  /** When the start began, in milliseconds since the epoch. */
  readonly started: number;
  /** Images that were built here; empty with clusters of the user's own. */
  images: readonly BuiltImage[];
  /** The regions, once their clusters can be reached, without those that have failed since. The active one comes first,
   *  then by priority: others may take their data from those before them. */
  places: readonly DeployedRegion[];
  /** Regions whose database waits for one to copy that does not answer just now: they go on by themselves when it does. */
  readonly waiting: Set<string>;
  /** Regions that failed, what they failed to do, and why. */
  readonly failures: { readonly region: string; readonly step: string; readonly message: string }[];
  /** How long each step took, in milliseconds. */
  readonly timings: Record<string, number>;
}

import type { DeployedRegion } from "../deployment.ts";
import type { StartContext } from "./context.ts";

/** Does one step's work for every region that is still in the start, all at the same time. A region whose work fails
 *  leaves the start and is noted; the others go on.
 *  @param step what was being done, for the note
 *  @throws Error when no region is left; when the start was interrupted */
export async function eachRegion(
  context: StartContext,
  step: string,
  work: (place: DeployedRegion) => Promise<void>,
): Promise<void> {
  const { places } = context;
  const results = await Promise.allSettled(places.map(work));
  context.signal.throwIfAborted();
  context.places = places.filter((_, i) => results[i]!.status === "fulfilled");
  for (const [i, result] of results.entries()) {
    if (result.status === "rejected") noteFailure(context, places[i]!.region, step, result.reason);
  }
  throwIfNoneIsLeft(context);
}

/** Notes that a region failed. */
export function noteFailure(context: StartContext, region: string, step: string, error: unknown): void {
  context.failures.push({ region, step, message: error instanceof Error ? error.message : String(error) });
}

/** @throws Error with every failure when no region is left */
export function throwIfNoneIsLeft(context: StartContext): void {
  if (context.places.length === 0 && context.failures.length > 0) throw new Error(failureText(context.failures));
}

/** One line a failure: the region, the step, why. */
export function failureText(failures: StartContext["failures"]): string {
  return failures.map(({ region, step, message }) => `${region} failed to ${step}: ${message}`).join("\n");
}

/** A queue of one: what is given to it is done in turn. For work that must not happen twice at a time. */
export function inTurn(): <T>(work: () => Promise<T>) => Promise<T> {
  let last: Promise<unknown> = Promise.resolve();
  return (work) => {
    const next = last.then(work);
    last = next.catch(() => {});
    return next;
  };
}

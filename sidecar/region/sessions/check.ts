import { setTimeout as sleep } from "node:timers/promises";
import { linkBetween } from "../../core/link.ts";
import { SLOTS } from "../../core/redis-nodes.ts";
import type { RegionConfig } from "../../core/region-config.ts";
import { keySlot } from "../../core/redis-slots.ts";
import { comparePlaces, leftovers, sweptSlots } from "../../core/session-receiver.ts";
import { digestsAnswer, PATHS, pathOf, type DigestsAnswer } from "../../core/session-protocol.ts";
import type { SessionCluster } from "./cluster.ts";
import { digestsOf, TOO_BIG } from "./digests.ts";
import { REQUEST_MILLIS, type Request, type SessionReceiver } from "./receiver.ts";

/** Keys that are compared at once. */
const SAMPLE = 200;
/** How far the ends of a key's life may be apart, in milliseconds. */
const EXPIRY_MILLIS = 1000;

export interface CheckResult {
  /** Keys that were compared: those that did not change at the source meanwhile. */
  readonly keys: number;
  readonly differences: number;
}

/** Compares keys from a random slot on with those of the source. They are read there twice; in between the link has
 *  caught up, and they are read here: what was the same both times has to be the same here too.
 *  @throws when the source or the local Redis cannot be read, or the link does not catch up */
export async function checkKeys(
  config: RegionConfig,
  parts: { cluster: SessionCluster; receiver: SessionReceiver; request: Request },
  source: string,
  signal: AbortSignal,
): Promise<CheckResult> {
  const { cluster, receiver } = parts;
  const link = linkBetween(config.links, source, config.region);
  if (!link) throw new RangeError(`there is no link from ${source} to ${config.region}`);
  const slot = Math.floor(Math.random() * SLOTS);
  const ask = async () => {
    const within = AbortSignal.any([signal, AbortSignal.timeout(REQUEST_MILLIS)]);
    const answer = await parts.request(source, pathOf(PATHS.digests, { slot, limit: SAMPLE }), within);
    return digestsAnswer.parse(answer);
  };

  const before = await ask();
  const readAt = performance.now();
  const limit = readAt + 2 * link.intervalMillis + REQUEST_MILLIS;
  while ((receiver.gauge(source)?.caughtUpAt ?? -Infinity) < readAt) {
    signal.throwIfAborted();
    if (performance.now() > limit)
      throw new Error(`the link from ${source} does not catch up: nothing can be compared`);
    await sleep(50, undefined, { signal });
  }
  const sweep = { from: { slot }, to: before.to, dark: before.dark };
  const slots = sweptSlots(sweep);
  const prefixes = { copy: config.redis.copy, invalidate: [] };
  const local = (await cluster.keysOfSlots(slots)).flatMap((keys, i) =>
    leftovers(sweep, slots[i]!, keys, new Set(), prefixes),
  );
  const here = await digestsOf(cluster, [...new Set([...local, ...before.digests.map(({ key }) => key)])]);
  return compare(before, here, await ask());
}

/** Compares what the source said twice with what is here. */
export function compare(
  before: DigestsAnswer,
  here: ReadonlyMap<string, { digest: string; expiresAt: number | undefined }>,
  after: DigestsAnswer,
): CheckResult {
  const first = new Map(before.digests.map((each) => [each.key, each]));
  const second = new Map(after.digests.map((each) => [each.key, each]));
  let keys = 0;
  let differences = 0;
  for (const [key, a] of first) {
    const b = second.get(key);
    if (!b || b.digest !== a.digest || b.expiresAt !== a.expiresAt || a.digest === TOO_BIG) continue;
    const own = here.get(key);
    if (own?.digest === TOO_BIG) continue;
    keys++;
    if (own?.digest !== a.digest || !sameExpiry(own.expiresAt, a.expiresAt)) differences++;
  }
  for (const [key] of here) {
    // Not there the first time, and not the second time either, as far as that one looked.
    const place = { slot: keySlot(key), after: key };
    if (first.has(key) || second.has(key) || (after.to && comparePlaces(place, after.to) > 0)) continue;
    keys++;
    differences++;
  }
  return { keys, differences };
}

function sameExpiry(a: number | undefined, b: number | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  return Math.abs(a - b) <= EXPIRY_MILLIS;
}

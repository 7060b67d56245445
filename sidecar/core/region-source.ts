import { reached } from "./lsn.ts";
import type { DatabaseStatus } from "./region-status.ts";

/** How much longer than it takes to leave a source a better one must have been there before it is gone back to. */
const RETURN_FACTOR = 2;

/** What is remembered from look to look. Times are of this process' monotonic clock, in milliseconds. */
export interface SourceState {
  /** When the present source was last seen to be good. */
  readonly goodAt: number | undefined;
  /** Source that `goodAt` is about. */
  readonly of: string | undefined;
  /** Since when each region could be streamed from, without a break. */
  readonly usableSince: Readonly<Record<string, number>>;
}

export const NO_SOURCE_STATE: SourceState = { goodAt: undefined, of: undefined, usableSince: {} };

export interface SourceInput {
  readonly region: string;
  /** Monotonic clock in milliseconds. */
  readonly now: number;
  /** Regions to stream from, best first: `sourcesOf`. */
  readonly order: readonly string[];
  /** Region that the standby cluster is configured to stream from; undefined when its address is none of theirs. */
  readonly current: string | undefined;
  readonly own: DatabaseStatus;
  /** What the regions that answer say of their databases. */
  readonly others: Readonly<Record<string, DatabaseStatus | undefined>>;
  /** How long a source must be away before the next one is taken, in milliseconds. */
  readonly lostMillis: number;
}

export interface SourceDecision {
  readonly state: SourceState;
  /** Region to stream from from now on; undefined leaves it as it is. */
  readonly switchTo: string | undefined;
  readonly cause: string;
}

/** Why a region cannot be streamed from; undefined when it can. A source must have everything that this region has: what
 *  is ahead of it cannot follow it. Positions of a primary are not compared: it sent them, and what is known of it is a
 *  moment older than this region's own. */
export function unusable(region: string, own: DatabaseStatus, other: DatabaseStatus | undefined): string | undefined {
  if (!other) return "its controller does not answer";
  if (other.state !== "primary" && other.state !== "standby") return `its database is ${other.state}`;
  if (other.state === "standby" && !other.streaming) return "it is a standby that does not stream itself";
  if (other.source === region) return "it streams from here";
  if (own.systemId !== undefined && other.systemId !== own.systemId) return "its database is another one";
  if (own.timeline !== undefined && (other.timeline ?? 0) < own.timeline) return "its timeline is an older one";
  if (other.state === "standby" && own.lsn !== undefined && (other.lsn === undefined || !reached(other.lsn, own.lsn)))
    return "it is behind this region";
  return undefined;
}

/** Which region a standby cluster streams from: its present source while that is good, the next in order when it has
 *  been away long enough, a better one again when that has been there for twice as long. Never forgets a source only
 *  because there is no better one. */
export function decideSource(before: SourceState, input: SourceInput): SourceDecision {
  const { now, order, current, own, others, lostMillis } = input;
  const reasons = new Map(order.map((name) => [name, unusable(input.region, own, others[name])]));
  const usableSince = Object.fromEntries(
    order.filter((name) => reasons.get(name) === undefined).map((name) => [name, before.usableSince[name] ?? now]),
  );
  // A stream that is up proves its source, whatever the controllers know of each other.
  const good = current !== undefined && order.includes(current) && (own.streaming || current in usableSince);
  const goodAt = good || before.of !== current ? now : (before.goodAt ?? now);
  const state: SourceState = { goodAt, of: current, usableSince };
  const stay = (cause: string): SourceDecision => ({ state, switchTo: undefined, cause });

  // Whatever else it is may be on its way to be a primary, and nobody may get into its way.
  if (own.state !== "standby") return stay(`the database is ${own.state}`);
  if (order.length === 0) return stay("no region is known to stream from");
  if (current === undefined || !order.includes(current)) {
    const next = order.find((name) => name in usableSince);
    if (next === undefined) return stay("no region can be streamed from just now");
    return { state, switchTo: next, cause: `${current ?? "the present source"} is no source of this region any more` };
  }
  if (!good) {
    const away = now - goodAt;
    if (away < lostMillis) return stay(`${current} is away for ${Math.round(away)} ms`);
    const next = order.find((name) => name !== current && name in usableSince);
    if (next === undefined) return stay(`${current} is away, and no other region can be streamed from`);
    const why = reasons.get(current) ?? "nothing is received from it";
    return { state, switchTo: next, cause: `${current} is away for ${Math.round(away)} ms: ${why}` };
  }
  const better = order
    .slice(0, order.indexOf(current))
    .find((name) => name in usableSince && now - usableSince[name]! >= RETURN_FACTOR * lostMillis);
  if (better === undefined) return stay(`${current} is the best source just now`);
  return { state, switchTo: better, cause: `${better} comes before ${current} and is there again` };
}

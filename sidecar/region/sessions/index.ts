import type { LookupFunction } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import type { Logger } from "pino";
import type { RegionConfig } from "../../core/region-config.ts";
import type { LinkStatus } from "../../core/region-status.ts";
import { ChangeLog } from "../../core/session-log.ts";
import { PATHS } from "../../core/session-protocol.ts";
import { checkKeys, type CheckResult } from "./check.ts";
import { SessionCluster } from "./cluster.ts";
import { messageOf } from "./connection.ts";
import { SessionReceiver, type Request } from "./receiver.ts";
import { SessionSource } from "./source.ts";
import { Tracker } from "./tracker.ts";

/** Keys in the log of changes at most: about 250 bytes each. A receiver that is further behind copies everything. */
const LOG_KEYS = 100_000;
/** Pause between two looks at the local Redis in milliseconds. */
const LOOK_MILLIS = 1000;

export interface SessionSyncDeps {
  readonly log: Logger;
  /** The region to copy from now: asked before every write. undefined: none, as this region is active, or nothing is
   *  known, or another controller of this region copies. At most one of a region's controllers may be given a source. */
  readonly activeSource: () => string | undefined;
  /** Epoch under which some region is active; undefined: not known, and nothing is copied. When it has changed, all is
   *  copied anew: this region may have been active in between and have sessions that the source lacks. */
  readonly epoch: () => number | undefined;
  /** Asks another region's controller, by its path with the query.
   *  @returns the parsed JSON */
  readonly request: Request;
  /** Wall clock in milliseconds; default Date.now. */
  readonly now?: () => number;
  /** How host names of Redis nodes become addresses; default: as the system does. */
  readonly lookup?: LookupFunction;
}

export interface SessionSync {
  /** Answers a question of another region; undefined for a path that is none of its own.
   *  @throws RangeError for a bad query; Error while the local Redis cannot be read completely */
  handle(path: string, query: URLSearchParams, signal: AbortSignal): Promise<object | undefined>;
  /** The link from the present source; empty without one. */
  links(): LinkStatus[];
  /** Whether writes to the local Redis are on their way. Once `activeSource` has changed, false within one call time-out
   *  and for good: a region that becomes active may wait for it. (A frozen Redis may still have commands in its buffers.) */
  readonly writing: boolean;
  /** Compares a sample of keys with the source's. Where some differ (somebody wrote here, and not at the source), all keys
   *  are copied anew: the next comparison finds them equal.
   *  @throws when that cannot be done now */
  checkKeys(source: string, signal: AbortSignal): Promise<CheckResult>;
  /** Follows the local Redis, and copies from the source; until aborted. */
  run(signal: AbortSignal): Promise<void>;
}

/** Sessions and cache invalidations between regions, §5.4.2: this region's are offered to the others, and the source's are
 *  copied here. */
export function createSessionSync(config: RegionConfig, deps: SessionSyncDeps): SessionSync {
  const { log, activeSource, epoch, request, now = Date.now, lookup } = deps;
  const access = { redis: config.redis, tls: config.tls, lookup };
  const cluster = new SessionCluster(access, log);
  const changes = new ChangeLog(LOG_KEYS);
  const tracker = new Tracker(access, cluster, changes, log, now);
  const source = new SessionSource(cluster, changes, config.redis.copy, now);
  const receiver = new SessionReceiver(config, cluster, { log, activeSource, epoch, request });

  async function follow(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        await cluster.look();
        await tracker.update();
      } catch (error) {
        log.error({ event: "look-failed", cause: messageOf(error) }, "a look at the local Redis failed");
      }
      const pause = changes.instance === undefined ? LOOK_MILLIS / 4 : LOOK_MILLIS;
      await sleep(pause, undefined, { signal }).catch(() => {});
    }
  }

  return {
    async handle(path, query, signal) {
      if (path === PATHS.changes) return source.changes(query);
      if (path === PATHS.snapshot) return source.snapshot(query, signal);
      if (path === PATHS.digests) return source.digests(query, signal);
      return undefined;
    },
    links() {
      const from = activeSource();
      const gauge = from === undefined ? undefined : receiver.gauge(from);
      return gauge ? [gauge.status(performance.now())] : [];
    },
    get writing() {
      return receiver.writing;
    },
    async checkKeys(from, signal) {
      const result = await checkKeys(config, { cluster, receiver, request }, from, signal);
      if (result.differences > 0) {
        log.warn(
          { event: "keys-differ", source: from, ...result, cause: "somebody wrote here, and not at the source" },
          "keys differ from the source's: all are copied anew",
        );
        receiver.copyAnew();
      }
      return result;
    },
    async run(signal) {
      try {
        await Promise.all([follow(signal), receiver.run(signal)]);
      } finally {
        tracker.close();
        cluster.close();
      }
    },
  };
}

import type { LookupFunction } from "node:net";
import type { Logger } from "pino";
import type { RegionConfig } from "../core/region-config.ts";
import type { LinkStatus } from "../core/region-status.ts";

/** A part of the controller that keeps sessions in step between regions. */
export interface SessionSync {
  /** Answers `GET /sessions/...`, which only peers' controllers may ask; undefined for a path that it does not know.
   *  @throws RangeError for a bad query; Error while it cannot be answered */
  handle(path: string, query: URLSearchParams, signal: AbortSignal): Promise<object | undefined>;
  /** State of the links into this region. */
  links(): LinkStatus[];
  /** Compares sampled keys with those of the source.
   *  @throws when that cannot be done now */
  checkKeys(source: string, signal: AbortSignal): Promise<{ readonly keys: number; readonly differences: number }>;
  /** Runs until aborted. */
  run(signal: AbortSignal): Promise<void>;
}

/** What such a part is given. */
export interface SessionSyncDeps {
  readonly log: Logger;
  /** Region to take sessions from; undefined in the active region, and while it is not known who that is. */
  readonly activeSource: () => string | undefined;
  /** Epoch of the last region that is known to be active; undefined while nothing is known. */
  readonly epoch: () => number | undefined;
  /** Asks a peer's controller, with this one's certificate.
   *  @returns the parsed JSON
   *  @throws when it does not answer in time, or refuses */
  readonly request: (region: string, path: string, signal: AbortSignal) => Promise<unknown>;
  /** How host names become addresses; default: as the system does. */
  readonly lookup?: LookupFunction;
}

export type CreateSessionSync = (config: RegionConfig, deps: SessionSyncDeps) => SessionSync;

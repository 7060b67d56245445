import type { Logger } from "pino";
import type { RegionConfig } from "../core/region-config.ts";
import type { LinkStatus } from "../core/region-status.ts";

/** A part of the controller that keeps sessions in step between regions. */
export interface SessionSync {
  /** Answers `GET /sessions/...`, which only peers' controllers may ask; undefined for a path that it does not know. */
  handle(path: string, query: URLSearchParams): Promise<object> | undefined;
  /** State of the links into this region. */
  links(): LinkStatus[];
  /** Compares sampled keys with those of the source. */
  checkKeys(source: string): Promise<{ keys: number; differences: number }>;
  /** Runs until aborted. */
  run(signal: AbortSignal): Promise<void>;
}

/** What such a part is given. */
export interface SessionSyncDeps {
  readonly log: Logger;
  /** Region to take sessions from; undefined in the active region, and while it is not known who that is. */
  readonly activeSource: () => string | undefined;
  /** Asks a peer's controller, with this one's certificate.
   *  @throws when it does not answer in time, or refuses */
  readonly request: (region: string, path: string) => Promise<unknown>;
  readonly signal: AbortSignal;
}

export type CreateSessionSync = (config: RegionConfig, deps: SessionSyncDeps) => SessionSync;

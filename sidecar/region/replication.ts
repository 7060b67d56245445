import type { Logger } from "pino";
import { sourcesOf } from "../core/link.ts";
import type { RegionConfig } from "../core/region-config.ts";
import type { TimelineHistory } from "../core/region-conflicts.ts";
import { addError, addSample, newTrack, NO_ERRORS, postgresLink, type ErrorLog } from "../core/region-links.ts";
import { decideSource, NO_SOURCE_STATE, type SourceState } from "../core/region-source.ts";
import type { DatabaseStatus, LinkStatus } from "../core/region-status.ts";
import type { Database } from "./database.ts";
import { reasonOf } from "./loop.ts";
import { STATUS_TIMEOUT_MILLIS, type Peers } from "./peers.ts";

export interface ReplicationDeps {
  readonly database: Database;
  readonly peers: Peers;
  readonly log: Logger;
  /** Region that is active, by the best word there is. */
  readonly active: () => string | undefined;
}

/** Watches the region's database and the stream of WAL into it, and chooses where a standby cluster streams from. */
export class Replication {
  readonly #config: RegionConfig;
  readonly #deps: ReplicationDeps;
  #source: SourceState = NO_SOURCE_STATE;
  #track = newTrack("");
  #history: TimelineHistory | undefined;
  #errors: ErrorLog = NO_ERRORS;
  #streamed = false;
  #trouble: string | undefined;
  #refused: string | undefined;

  constructor(config: RegionConfig, deps: ReplicationDeps) {
    this.#config = config;
    this.#deps = deps;
  }

  /** Where the source's timelines ended, as it told last. */
  historyOf(region: string): TimelineHistory | undefined {
    return this.#track.source === region ? this.#history : undefined;
  }

  /** The stream into this region; none into one that is not a standby. */
  links(): LinkStatus[] {
    const { status, isStandbyCluster } = this.#deps.database.last;
    if (isStandbyCluster !== true || this.#track.source === "") return [];
    const { intervalMillis, maxLagSeconds, maxErrors } = this.#config.monitor;
    return [
      postgresLink({
        region: this.#config.region,
        track: this.#track,
        own: status,
        errors: this.#errors,
        now: performance.now(),
        quietMillis: 2 * intervalMillis + STATUS_TIMEOUT_MILLIS,
        maxLagSeconds,
        maxErrors,
      }),
    ];
  }

  /** One look. First the source, then the own database: what the source had sent by then has mostly arrived. */
  async step(signal: AbortSignal): Promise<void> {
    const { database } = this.#deps;
    const source = database.last.status.source;
    if (source !== undefined) await this.#sample(source, signal);
    const look = await database.look(signal);
    this.#watch(look.status, look.trouble);
    if (look.isStandbyCluster) await this.#choose(signal);
    else this.#source = NO_SOURCE_STATE;
  }

  async #sample(source: string, signal: AbortSignal): Promise<void> {
    if (this.#track.source !== source) {
      this.#track = newTrack(source);
      this.#history = undefined;
    }
    try {
      const { at, lsn, history } = await this.#deps.peers.position(source, signal);
      this.#track = addSample(this.#track, { at, lsn }, performance.now());
      this.#history = history;
    } catch {
      // The lag grows, which says it all; that the peer is silent is reported where it is asked how it is.
    }
  }

  /** Counts what goes wrong: a stream that breaks, figures that cannot be read. */
  #watch(status: DatabaseStatus, trouble: string | undefined): void {
    const { log } = this.#deps;
    if (this.#streamed && !status.streaming && status.state !== "primary")
      this.#error(`the stream from ${status.source ?? "the source"} broke`);
    if (!this.#streamed && status.streaming)
      log.info(
        { event: "streaming", source: status.source, cause: "WAL is received" },
        `streams from ${status.source}`,
      );
    this.#streamed = status.streaming;
    if (trouble !== undefined && trouble !== this.#trouble) this.#error(trouble);
    this.#trouble = trouble;
  }

  #error(message: string): void {
    this.#errors = addError(this.#errors, message, performance.now());
    this.#deps.log.warn({ event: "replication-error", cause: message }, message);
  }

  async #choose(signal: AbortSignal): Promise<void> {
    const { database, peers, log } = this.#deps;
    const { region, regions, links, monitor } = this.#config;
    const active = this.#deps.active();
    const { status, leaderUrl, source: present } = database.last;
    const priorities = Object.fromEntries(Object.entries(regions).map(([name, r]) => [name, r.priority]));
    const decision = decideSource(this.#source, {
      region,
      now: performance.now(),
      order: active === undefined || !(active in regions) ? [] : sourcesOf(links, priorities, region, active),
      current: status.source,
      own: status,
      others: Object.fromEntries(peers.names.map((name) => [name, peers.status(name)?.database])),
      lostMillis: monitor.sourceLostSeconds * 1000,
    });
    this.#source = decision.state;
    const { switchTo, cause } = decision;
    if (switchTo === undefined || leaderUrl === undefined) return;
    const { host, port } = regions[switchTo]!.postgres;
    try {
      const changed = await database.patroni.streamFrom(leaderUrl, { host, port, slot: regions[region]!.slot }, signal);
      if (changed)
        log.info(
          { event: "source-changed", from: status.source ?? present?.host, to: switchTo, cause },
          `streams from ${switchTo} from now on: ${cause}`,
        );
      this.#refused = undefined;
    } catch (error) {
      const reason = reasonOf(error);
      if (reason !== this.#refused) this.#error(`Patroni did not take ${switchTo} as the source: ${reason}`);
      this.#refused = reason;
    }
  }
}

import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import type { Logger } from "pino";
import { reached } from "../core/lsn.ts";
import {
  compareDigests,
  CONFIRMATIONS,
  sampleRange,
  suspect,
  type DigestAnswer,
  type PageRange,
  type Suspicion,
} from "../core/region-digest.ts";
import type { Problem, RegionStatus } from "../core/region-status.ts";
import { digestPath, type Digests } from "./digest.ts";
import { reasonOf } from "./loop.ts";
import type { SessionSync } from "./parts.ts";

/** Rows of one table that one comparison takes at most. */
export const SAMPLE_ROWS = 500;
/** Pages of one table that one comparison looks at. */
const SAMPLE_PAGES = 16;
/** Tables that one round looks at, in turn where there are more. */
const TABLES_A_ROUND = 20;
/** How long the copy may take to come to where the source was read, in milliseconds. */
const CATCH_UP_MILLIS = 10_000;
/** How long a comparison of session keys may take, in milliseconds. */
const CHECK_MILLIS = 60_000;
/** Pause before a difference is looked at again, in milliseconds: longer than a commit is on its way to the disk. */
const RECHECK_MILLIS = 1000;

export interface ConsistencyDeps {
  readonly region: string;
  readonly digests: Digests;
  readonly log: Logger;
  /** Region to compare with; undefined when there is none just now. */
  readonly source: () => string | undefined;
  readonly request: (region: string, path: string, signal?: AbortSignal) => Promise<unknown>;
  readonly sessions: SessionSync | undefined;
}

/** Compares samples of every table, and of session keys, with the active region's, without stopping anything. */
export class Consistency {
  readonly #deps: ConsistencyDeps;
  #suspicions: readonly Suspicion[] = [];
  #turn = 0;
  #keyDifferences = 0;
  #status: RegionStatus["consistency"] = {
    checkedAt: undefined,
    source: undefined,
    rows: 0,
    keys: 0,
    differences: 0,
  };

  constructor(deps: ConsistencyDeps) {
    this.#deps = deps;
  }

  get status(): RegionStatus["consistency"] {
    return this.#status;
  }

  get problems(): Problem[] {
    const { region } = this.#deps;
    const from = this.#status.source ?? "its source";
    const rows = new Map<string, number>();
    for (const { table, places } of this.#confirmed) rows.set(table, (rows.get(table) ?? 0) + places.length);
    const tables = [...rows].map(([table, count]): Problem => ({
      kind: "content-differs",
      subject: table,
      message: `${count} row${count === 1 ? "" : "s"} of ${table} in ${region} differ from ${from}, and keep doing so: rebuild ${region} from ${from}, and look for the cause (storage, checksums)`,
    }));
    if (this.#keyDifferences === 0) return tables;
    return [
      ...tables,
      {
        kind: "content-differs",
        subject: "sessions",
        message: `${this.#keyDifferences} sampled session keys in ${region} differ from ${from}`,
      },
    ];
  }

  get #confirmed(): Suspicion[] {
    return this.#suspicions.filter(({ seen }) => seen >= CONFIRMATIONS);
  }

  /** One round. Does nothing where there is no source, as in the active region.
   *  @throws when the source cannot be read at all */
  async round(signal: AbortSignal): Promise<void> {
    const source = this.#deps.source();
    if (source === undefined) {
      this.#suspicions = [];
      this.#keyDifferences = 0;
      this.#status = { ...this.#status, rows: 0, keys: 0, differences: 0 };
      return;
    }
    const rows = await this.#compareTables(source, signal);
    const keys = await this.#compareKeys(source, signal);
    const differing = this.#confirmed.reduce((sum, { places }) => sum + places.length, 0);
    this.#status = {
      checkedAt: new Date().toISOString(),
      source,
      rows,
      keys,
      differences: differing + this.#keyDifferences,
    };
  }

  /** @returns keys compared */
  async #compareKeys(source: string, signal: AbortSignal): Promise<number> {
    const { sessions, log } = this.#deps;
    if (!sessions) return 0;
    try {
      const limit = AbortSignal.any([signal, AbortSignal.timeout(CHECK_MILLIS)]);
      const { keys, differences } = await sessions.checkKeys(source, limit);
      this.#keyDifferences = differences;
      return keys;
    } catch (error) {
      signal.throwIfAborted();
      const cause = reasonOf(error);
      log.warn(
        { event: "comparison-failed", source, cause },
        `session keys could not be compared with ${source}: ${cause}`,
      );
      return 0;
    }
  }

  async #compareTables(source: string, signal: AbortSignal): Promise<number> {
    const tables = await this.#deps.digests.tables();
    this.#suspicions = this.#suspicions.filter(({ table }) => tables.some(({ name }) => name === table));
    let rows = 0;
    for (const suspicion of this.#suspicions)
      rows += await this.#look(source, suspicion.table, suspicion.range, signal);
    const chosen = tables.map((_, i) => tables[(this.#turn + i) % tables.length]!).slice(0, TABLES_A_ROUND);
    this.#turn = tables.length === 0 ? 0 : (this.#turn + chosen.length) % tables.length;
    for (const { name, pages } of chosen) {
      if (signal.aborted) break;
      const range = sampleRange(pages, SAMPLE_PAGES, Math.random());
      rows += await this.#look(source, name, range, signal);
      // A difference is looked at again at once, until it is confirmed or gone.
      for (let i = 1; i < CONFIRMATIONS && this.#pending(name, range); i++) {
        await sleep(RECHECK_MILLIS, undefined, { signal });
        await this.#look(source, name, range, signal);
      }
    }
    return rows;
  }

  #pending(table: string, range: PageRange): boolean {
    const found = this.#suspicionOf(table, range);
    return found !== undefined && found.seen < CONFIRMATIONS;
  }

  #suspicionOf(table: string, range: PageRange): Suspicion | undefined {
    return this.#suspicions.find((s) => s.table === table && s.range.from === range.from && s.range.to === range.to);
  }

  /** @returns rows compared */
  async #look(source: string, table: string, range: PageRange, signal: AbortSignal): Promise<number> {
    let result;
    try {
      result = await this.#compare(source, table, range, signal);
    } catch (error) {
      signal.throwIfAborted();
      this.#deps.log.warn(
        { event: "comparison-failed", table, source, cause: reasonOf(error) },
        `${table} could not be compared with ${source}: ${reasonOf(error)}`,
      );
      return 0;
    }
    if (!result) return 0;
    const before = this.#suspicionOf(table, range);
    const after = suspect(before, table, range, result.differing);
    this.#suspicions = [...this.#suspicions.filter((s) => s !== before), ...(after ? [after] : [])];
    return result.compared;
  }

  /** @returns undefined when this time nothing can be said */
  async #compare(source: string, table: string, range: PageRange, signal: AbortSignal) {
    const { digests, request } = this.#deps;
    const salt = randomBytes(16).toString("hex");
    const ask = async (limit: number, until?: string) =>
      (await request(
        source,
        digestPath(table, range, { limit, salt, ...(until === undefined ? {} : { until }) }),
        signal,
      )) as DigestAnswer;
    const first = await ask(SAMPLE_ROWS);
    await this.#replayed(first.lsn, signal);
    const own = await digests.read({ table, ...range, until: first.cutAt, limit: 4 * SAMPLE_ROWS, salt });
    const second = await ask(4 * SAMPLE_ROWS, first.cutAt);
    if (!own || own.cutAt !== undefined || second.cutAt !== undefined) return undefined;
    return compareDigests(first.rows, own.rows, second.rows);
  }

  async #replayed(lsn: string, signal: AbortSignal): Promise<void> {
    const end = performance.now() + CATCH_UP_MILLIS;
    for (;;) {
      const own = await this.#deps.digests.position();
      if (own !== undefined && reached(own, lsn)) return;
      if (performance.now() > end) throw new Error(`${lsn} was not replayed within ${CATCH_UP_MILLIS} ms`);
      await sleep(100, undefined, { signal });
    }
  }
}

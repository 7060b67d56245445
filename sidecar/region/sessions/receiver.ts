import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import type { Logger } from "pino";
import { linkBetween, type Link } from "../../core/link.ts";
import type { RegionConfig } from "../../core/region-config.ts";
import { keySlot } from "../../core/redis-slots.ts";
import { LinkGauge, type Heard } from "../../core/session-gauge.ts";
import { changesAnswer, snapshotAnswer, type Entry, type Origin } from "../../core/session-protocol.ts";
import {
  concerns,
  leftovers,
  question,
  step,
  sweptSlots,
  usable,
  type Step,
  type Sweep,
} from "../../core/session-receiver.ts";
import type { SessionCluster } from "./cluster.ts";
import { messageOf } from "./connection.ts";
import { CursorStore } from "./cursor.ts";

/** Longest wait for an answer of another region, in milliseconds. */
export const REQUEST_MILLIS = 10_000;
/** Commands that are sent before the source is looked at again: so many may still take effect when it changes. */
const COMMANDS_AT_ONCE = 50;
/** How soon a change of the source, or the order to stop, ends a pause, in milliseconds. */
const POLL_MILLIS = 200;

export type Request = (region: string, path: string, signal: AbortSignal) => Promise<unknown>;

export interface ReceiverDeps {
  readonly log: Logger;
  /** The region to copy from now; undefined: none, and nothing is written. At most one controller of a region may be
   *  given one at a time. */
  readonly activeSource: () => string | undefined;
  /** Epoch of the present activity; undefined: not known, and nothing is written. */
  readonly epoch: () => number | undefined;
  readonly request: Request;
}

type From = Pick<Origin, "source" | "epoch">;
const same = (a: From | undefined, b: From | undefined) => a?.source === b?.source && a?.epoch === b?.epoch;

/** The source is no longer the one that a batch came from: no error, and nothing of the batch may be written. */
class SourceChanged extends Error {}

/** Copies sessions from the source into the local Redis, batch by batch. */
export class SessionReceiver {
  readonly #config: RegionConfig;
  readonly #deps: ReceiverDeps;
  readonly #cluster: SessionCluster;
  readonly #cursors: CursorStore;
  readonly #gauges = new Map<string, LinkGauge>();
  #writing = 0;
  #anew = false;
  #complaint = "";

  constructor(config: RegionConfig, cluster: SessionCluster, deps: ReceiverDeps) {
    this.#config = config;
    this.#cluster = cluster;
    this.#deps = deps;
    this.#cursors = new CursorStore(cluster, randomUUID());
  }

  /** Whether commands are on their way to the local Redis. After the source has changed it is false within one call
   *  time-out, and stays so: a region that becomes active waits for it. */
  get writing(): boolean {
    return this.#writing > 0;
  }

  /** Has the next batch begin a copy of everything. The source's word counts: whatever was written here alone goes. */
  copyAnew(): void {
    this.#anew = true;
  }

  /** How the link from a region is; undefined without one. */
  gauge(source: string): LinkGauge | undefined {
    const link = linkBetween(this.#config.links, source, this.#config.region);
    if (!link) return undefined;
    let gauge = this.#gauges.get(source);
    if (!gauge) {
      const { maxLagSeconds, maxErrors } = this.#config.monitor;
      const settings = {
        source,
        target: this.#config.region,
        intervalMillis: link.intervalMillis,
        maxLagSeconds,
        maxErrors,
      };
      gauge = new LinkGauge(settings, performance.now());
      this.#gauges.set(source, gauge);
    }
    return gauge;
  }

  /** Copies until aborted. */
  async run(signal: AbortSignal): Promise<void> {
    let before: From | undefined;
    while (!signal.aborted) {
      const from = this.#from();
      if (!same(from, before)) {
        const cause = from
          ? `sessions come from ${from.source} under epoch ${from.epoch}`
          : "sessions come from nowhere";
        this.#deps.log.info({ event: "source", ...from, before: before?.source, cause }, cause);
        // What is known of a link that was not used for a while says nothing any more.
        if (before) this.#gauges.delete(before.source);
        this.#cursors.release();
        before = from;
      }
      const link = from && linkBetween(this.#config.links, from.source, this.#config.region);
      if (!from || !link) {
        if (from) this.#complain(`there is no link from ${from.source}`);
        await this.#pause(POLL_MILLIS, from, signal);
        continue;
      }
      const more = await this.#round(from, link, signal);
      if (!more) await this.#pause(link.intervalMillis, from, signal);
    }
  }

  /** One batch with its tries.
   *  @returns whether more is known to wait */
  async #round(from: From, link: Link, signal: AbortSignal): Promise<boolean> {
    const { source } = from;
    for (let attempt = 1; ; attempt++) {
      try {
        const more = await this.#batch(from, link, signal);
        this.#complaint = "";
        return more;
      } catch (error) {
        if (signal.aborted || error instanceof SourceChanged) return false;
        const message = messageOf(error);
        const { log } = this.#deps;
        log.debug({ event: "batch-failed", source, attempt, cause: message }, `try ${attempt} of a batch failed`);
        if (attempt >= link.maxAttempts) {
          this.gauge(source)?.failed(message, performance.now());
          this.#complain(`a batch from ${source} was given up for now after ${attempt} tries: ${message}`);
          return false;
        }
        await this.#pause(link.retryDelayMillis, from, signal);
        if (!same(this.#from(), from)) return false;
      }
    }
  }

  async #batch(from: From, link: Link, signal: AbortSignal): Promise<boolean> {
    this.#mind(from);
    const { source } = from;
    const local = this.#cluster.identity;
    if (local === undefined) throw new Error("not all masters of this region's Redis can be reached");
    const origin = { ...from, local };
    const anew = this.#anew;
    const cursor = anew ? undefined : usable(await this.#cursors.load(), origin);
    const limit = link.batchSize;
    const asked = question(cursor, limit);
    const askedAt = performance.now();
    const within = AbortSignal.any([signal, AbortSignal.timeout(REQUEST_MILLIS)]);
    const answer = parse(asked.kind, await this.#deps.request(source, asked.path, within));
    const next = step(cursor, asked, answer, origin, limit);
    const changes = "entries" in answer && "instance" in answer ? answer : undefined;
    const heard: Heard = {
      askedAt,
      oldestMillis: changes?.oldestMillis,
      restMillis: changes?.restMillis,
      pending: "pending" in answer ? answer.pending : 0,
      walking: asked.kind === "snapshot" || "resync" in answer,
    };
    const gauge = this.gauge(source)!;
    gauge.heard(heard);
    if ("resync" in answer)
      this.#deps.log.info(
        {
          event: "resync",
          source,
          cause: cursor ? "the source does not know this place in its log" : "no place is known",
        },
        "all sessions are copied",
      );
    // Another controller of this region may have taken over while the answer was on its way.
    await this.#cursors.mind();
    await this.#apply(from, next);
    if (this.#cluster.identity !== local) throw new Error("masters of this region's Redis changed meanwhile");
    this.#mind(from);
    await this.#cursors.save(next.cursor);
    if (anew) this.#anew = false;
    gauge.applied(heard, next.entries.length, next.entries.filter((entry) => "oversize" in entry).length);
    return next.more;
  }

  async #apply(from: From, { entries, sweep }: Step): Promise<void> {
    const { copy, invalidate } = this.#config.redis;
    // Of prefixes that the source alone is set to send, this region wants nothing, and may not write any.
    const commands = entries
      .filter(({ key }) => concerns(key, [...copy, ...invalidate]))
      .map((entry) => ({ slot: keySlot(entry.key), command: commandOf(entry) }));
    if (sweep) {
      const gone = await this.#leftovers(sweep, new Set(entries.map(({ key }) => key)));
      commands.push(...gone.map((key) => ({ slot: keySlot(key), command: unlink(key) })));
    }
    for (let i = 0; i < commands.length; i += COMMANDS_AT_ONCE) {
      this.#mind(from);
      const some = commands.slice(i, i + COMMANDS_AT_ONCE);
      this.#writing++;
      try {
        const ends = await Promise.allSettled(
          some.map(({ slot, command: [name, ...rest] }) => this.#send(slot, name, rest)),
        );
        const failed = ends.find((end) => end.status === "rejected");
        if (failed) throw failed.reason;
      } finally {
        this.#writing--;
      }
    }
  }

  async #send(slot: number, name: string, rest: (string | Buffer)[]): Promise<void> {
    await this.#cluster.clientOf(slot).call(name, ...rest);
  }

  async #leftovers(sweep: Sweep, atSource: ReadonlySet<string>): Promise<string[]> {
    const slots = sweptSlots(sweep);
    const lists = await this.#cluster.keysOfSlots(slots);
    return lists.flatMap((keys, i) => leftovers(sweep, slots[i]!, keys, atSource, this.#config.redis));
  }

  #from(): From | undefined {
    const source = this.#deps.activeSource();
    const epoch = this.#deps.epoch();
    return source === undefined || epoch === undefined ? undefined : { source, epoch };
  }

  /** @throws SourceChanged when the source is another one by now */
  #mind(from: From): void {
    if (!same(this.#from(), from)) throw new SourceChanged("the source has changed");
  }

  async #pause(millis: number, from: From | undefined, signal: AbortSignal): Promise<void> {
    const end = performance.now() + millis;
    while (!signal.aborted && same(this.#from(), from)) {
      const rest = end - performance.now();
      if (rest <= 0) return;
      await sleep(Math.min(rest, POLL_MILLIS), undefined, { signal }).catch(() => {});
    }
  }

  #complain(message: string): void {
    if (message === this.#complaint) return;
    this.#complaint = message;
    this.#deps.log.warn({ event: "sessions", cause: message }, message);
  }
}

function parse(kind: "changes" | "snapshot", answer: unknown) {
  const parsed = (kind === "changes" ? changesAnswer : snapshotAnswer).safeParse(answer);
  if (parsed.success) return parsed.data;
  // Paths alone: what stands there may be a key.
  const where = parsed.error.issues.map(({ path }) => path.join(".") || "the whole");
  throw new Error(`the answer of the source is not understood: ${where.slice(0, 3).join(", ")}`);
}

function commandOf(entry: Entry): [string, ...(string | Buffer)[]] {
  // A value that is too big to travel is at least not an old one here.
  if (!("dump" in entry)) return unlink(entry.key);
  const { key, dump, expiresAt } = entry;
  const name = Buffer.from(key, "latin1");
  return ["RESTORE", name, String(expiresAt ?? 0), Buffer.from(dump, "base64"), "REPLACE", "ABSTTL"];
}

function unlink(key: string): [string, Buffer] {
  return ["UNLINK", Buffer.from(key, "latin1")];
}

import { ChangeLog } from "../../../sidecar/core/session-log.ts";
import { keySlot } from "../../../sidecar/core/redis-slots.ts";
import {
  changesQuery,
  parseQuery,
  snapshotQuery,
  type ChangesAnswer,
  type Cursor,
  type Entry,
  type SnapshotAnswer,
} from "../../../sidecar/core/session-protocol.ts";
import {
  compareKeys,
  comparePlaces,
  concerns,
  leftovers,
  placeAfter,
  question,
  step,
  sweptSlots,
  usable,
  type Question,
  type Step,
} from "../../../sidecar/core/session-receiver.ts";

/** A model of two regions and a third one that copies from either: the project's own decisions, with maps in place of
 *  Redis, and time that passes only when told to. */

export const PREFIXES = { copy: ["session:"], invalidate: ["cache:"] };

/** A controller of a source region: hears of changes late, and may miss some. */
export class Controller {
  readonly changes: ChangeLog;
  readonly skew: number;
  #lives = 0;
  #queue: { key: string; at: number }[] = [];
  readonly name: string;

  constructor(name: string, maxKeys: number, skew: number) {
    this.name = name;
    this.changes = new ChangeLog(maxKeys);
    this.skew = skew;
  }

  happened(key: string, time: number): void {
    if (this.changes.instance !== undefined) this.#queue.push({ key, at: time });
  }

  hear(count: number, time: number): void {
    for (const { key } of this.#queue.splice(0, count)) this.changes.record(key, time + this.skew);
    this.changes.confirm((this.#queue[0]?.at ?? time) + this.skew);
  }

  lose(): void {
    this.#queue = [];
    this.changes.end();
  }

  begin(time: number): void {
    if (this.changes.instance === undefined) this.changes.begin(`${this.name}${++this.#lives}`, time + this.skew);
  }
}

export class Region {
  readonly data = new Map<string, string>();
  readonly controllers: Controller[];

  constructor(name: string, maxKeys: number, skews: readonly number[]) {
    this.controllers = skews.map((skew, i) => new Controller(`${name}${i}-`, maxKeys, skew));
  }

  write(key: string, value: string | undefined, time: number): void {
    if (value === undefined) this.data.delete(key);
    else this.data.set(key, value);
    for (const controller of this.controllers) controller.happened(key, time);
  }

  /** What a controller answers; undefined while it follows nothing. */
  answer(at: number, path: string, time: number, fitting: number): ChangesAnswer | SnapshotAnswer | undefined {
    const { changes, skew } = this.controllers[at]!;
    if (changes.instance === undefined) return undefined;
    const [name, search] = path.split("?");
    const query = new URLSearchParams(search);
    const asked = parseQuery(name!.endsWith("changes") ? changesQuery : snapshotQuery, query);
    const from = asked.at && changes.resume({ marks: asked.at, asOf: asked.asOf });
    if (from === undefined) return { resync: true, ...changes.head() };
    if (name!.endsWith("changes")) {
      const batch = changes.after(from, asked.limit, time + skew);
      const done = Math.min(fitting, batch.keys.length);
      return {
        ...batch.positionAfter(done),
        entries: batch.keys.slice(0, done).map((key) => this.#entry(key)),
        pending: batch.pendingAfter(done),
        oldestMillis: batch.oldestAfter(0),
        restMillis: batch.oldestAfter(done),
      };
    }
    const { slot, key: after } = snapshotQuery.parse(Object.fromEntries(query));
    const place = { slot, after };
    const keys = [...this.data.keys()]
      .filter((key) => concerns(key, PREFIXES.copy))
      .sort(compareKeys)
      .filter((key) => comparePlaces({ slot: keySlot(key), after: key }, place) > 0);
    const page = keys.slice(0, Math.min(asked.limit, fitting));
    const to = page.length < keys.length ? placeAfter(page, keySlot(keys[page.length]!)) : undefined;
    return { entries: page.map((key) => this.#entry(key)), to, dark: [], pending: 0 };
  }

  #entry(key: string): Entry {
    const value = this.data.get(key);
    if (value === undefined || !concerns(key, PREFIXES.copy)) return { key, absent: true };
    return { key, dump: value };
  }
}

/** The region that copies. */
export class Receiver {
  readonly data = new Map<string, string>();
  cursor: Cursor | undefined;
  source = "a";
  epoch = 1;
  local = "x";
  readonly limit: number;
  biggest = 0;
  #flying: { asked: Question; answer: ChangesAnswer | SnapshotAnswer; from: string } | undefined;

  constructor(limit: number) {
    this.limit = limit;
  }

  get #origin() {
    return { source: this.source, epoch: this.epoch, local: this.local };
  }

  ask(region: Region, controller: number, time: number, fitting: number): void {
    const asked = question(usable(this.cursor, this.#origin), this.limit);
    const answer = region.answer(controller, asked.path, time, Math.max(1, fitting));
    this.#flying = answer && { asked, answer, from: JSON.stringify(this.#origin) };
  }

  /** Applies what has arrived, or the beginning of it, as when it is killed midway.
   *  @returns whether more is known to wait; true also when nothing was done */
  apply(part: number | undefined): boolean {
    const flying = this.#flying;
    this.#flying = undefined;
    if (!flying || flying.from !== JSON.stringify(this.#origin)) return true;
    const cursor = usable(this.cursor, this.#origin);
    const next = step(cursor, flying.asked, flying.answer, this.#origin, this.limit);
    const writes = this.#writes(next);
    for (const write of writes.slice(0, part ?? writes.length)) write();
    if (part !== undefined) return true;
    this.cursor = next.cursor;
    return next.more;
  }

  #writes({ entries, sweep }: Step): (() => void)[] {
    this.biggest = Math.max(this.biggest, entries.length);
    const writes = entries.map((entry) => () => {
      if ("dump" in entry) this.data.set(entry.key, entry.dump);
      else this.data.delete(entry.key);
    });
    if (!sweep) return writes;
    const slots = new Set(sweptSlots(sweep));
    const bySlot = Map.groupBy(this.data.keys(), keySlot);
    const there = new Set(entries.map(({ key }) => key));
    for (const [slot, keys] of bySlot) {
      if (!slots.has(slot)) continue;
      for (const key of leftovers(sweep, slot, keys, there, PREFIXES)) writes.push(() => this.data.delete(key));
    }
    return writes;
  }
}

import { inRanges, keySlot } from "../../core/redis-slots.ts";
import { SLOTS, type SlotRange } from "../../core/redis-nodes.ts";
import { concerns, placeAfter } from "../../core/session-receiver.ts";
import type { ChangeLog } from "../../core/session-log.ts";
import {
  changesQuery,
  digestsQuery,
  parseQuery,
  snapshotQuery,
  type ChangesAnswer,
  type DigestsAnswer,
  type Entry,
  type Place,
  type Progress,
  type SnapshotAnswer,
} from "../../core/session-protocol.ts";
import type { SessionCluster } from "./cluster.ts";
import { digestsOf } from "./digests.ts";

/** Bytes of values in one answer: at least one value goes, so a bigger one travels alone. */
const ANSWER_BYTES = 4 * 1024 ** 2;
/** Bytes of the biggest value that travels, as DUMP gives it. In base64 it is less than 7 MiB: controllers refuse
 *  answers over 8 MiB. */
const VALUE_BYTES = 5 * 1024 ** 2;
/** Bytes, as Redis estimates them, of the biggest value that is read at all: by the estimate an index takes two to three
 *  times what DUMP makes of it. */
const READ_BYTES = 16 * 1024 ** 2;
/** Slots whose keys are asked for at once: few where keys are dense, more and more where they are sparse. */
const SLOTS_AT_ONCE = { first: 4, most: 512 };

/** Answers what other regions ask of this one's sessions. */
export class SessionSource {
  readonly #cluster: SessionCluster;
  readonly #changes: ChangeLog;
  readonly #copy: readonly string[];
  readonly #now: () => number;

  constructor(cluster: SessionCluster, changes: ChangeLog, copy: readonly string[], now: () => number) {
    this.#cluster = cluster;
    this.#changes = changes;
    this.#copy = copy;
    this.#now = now;
  }

  /** Keys that changed, with their values as they are now.
   *  @throws RangeError for a bad query; Error while Redis cannot be read completely */
  async changes(query: URLSearchParams): Promise<ChangesAnswer> {
    const asked = parseQuery(changesQuery, query);
    const { dark } = this.#ready();
    const from = this.#from(asked);
    if (from === undefined) return { resync: true, ...this.#changes.head() };
    const { instance } = this.#changes;
    const batch = this.#changes.after(from, asked.limit, this.#now());
    const { entries, done } = await this.#read(batch.keys, dark);
    // What was read while the log began anew is not the log's any more.
    if (this.#changes.instance !== instance) throw new Error("the masters of Redis changed meanwhile");
    return {
      ...batch.positionAfter(done),
      entries,
      pending: batch.pendingAfter(done),
      oldestMillis: batch.oldestAfter(0),
      restMillis: batch.oldestAfter(done),
    };
  }

  /** Keys from one place on, with their values.
   *  @throws RangeError for a bad query; Error while Redis cannot be read completely */
  async snapshot(query: URLSearchParams, signal: AbortSignal): Promise<SnapshotAnswer> {
    const asked = parseQuery(snapshotQuery, query);
    const { dark } = this.#ready();
    const position = this.#from(asked);
    if (position === undefined) return { resync: true, ...this.#changes.head() };
    const { instance } = this.#changes;
    const { keys, to } = await this.#walk({ slot: asked.slot, after: asked.key }, asked.limit, dark, signal);
    const { entries, done } = await this.#read(keys, dark);
    if (this.#changes.instance !== instance) throw new Error("the masters of Redis changed meanwhile");
    const pending = this.#changes.after(position, 1, this.#now()).pendingAfter(0);
    if (done === keys.length) return { entries, to, dark: [...dark], pending };
    const last = keys[done - 1]!;
    return { entries, to: { slot: keySlot(last), after: last }, dark: [...dark], pending };
  }

  /** Digests of the contents of some keys, from one slot on.
   *  @throws RangeError for a bad query; Error while Redis cannot be read completely */
  async digests(query: URLSearchParams, signal: AbortSignal): Promise<DigestsAnswer> {
    const { slot, limit } = parseQuery(digestsQuery, query);
    const { dark } = this.#ready();
    const { keys, to } = await this.#walk({ slot }, limit, dark, signal);
    const digests = await digestsOf(this.#cluster, keys);
    return {
      to,
      dark: [...dark],
      digests: [...digests].map(([key, { digest, expiresAt }]) =>
        expiresAt === undefined ? { key, digest } : { key, digest, expiresAt },
      ),
    };
  }

  #ready(): { dark: readonly SlotRange[] } {
    const { map } = this.#cluster;
    if (!map || this.#changes.instance === undefined)
      throw new Error("changes of this region's Redis are not followed at present");
    return { dark: map.dark };
  }

  #from({ at, asOf }: { at?: Progress["marks"] | undefined; asOf: number }): number | undefined {
    return at && this.#changes.resume({ marks: at, asOf });
  }

  /** Names of the next keys whose values are copied, at most `limit`, and the place after them. */
  async #walk(
    from: Place,
    limit: number,
    dark: readonly SlotRange[],
    signal: AbortSignal,
  ): Promise<{ keys: string[]; to: Place | undefined }> {
    const keys: string[] = [];
    let atOnce = SLOTS_AT_ONCE.first;
    for (let first = from.slot; first < SLOTS;) {
      signal.throwIfAborted();
      const slots = Array.from({ length: Math.min(atOnce, SLOTS - first) }, (_, i) => first + i);
      first += atOnce;
      atOnce = Math.min(2 * atOnce, SLOTS_AT_ONCE.most);
      const open = slots.filter((slot) => !inRanges(dark, slot));
      const lists = await this.#cluster.keysOfSlots(open);
      for (const [i, list] of lists.entries()) {
        const slot = open[i]!;
        const wanted = list
          .filter((key) => concerns(key, this.#copy))
          .filter((key) => slot !== from.slot || from.after === undefined || key > from.after)
          .sort();
        for (const key of wanted) {
          if (keys.length === limit) return { keys, to: placeAfter(keys, slot) };
          keys.push(key);
        }
      }
    }
    return { keys, to: undefined };
  }

  /** Values of keys, of as many as an answer holds, in the order given.
   *  @returns how many of the keys were done; those in slots that nobody serves are, without an entry */
  async #read(keys: readonly string[], dark: readonly SlotRange[]): Promise<{ entries: Entry[]; done: number }> {
    const sizes = await Promise.all(
      keys.map(async (key) => {
        const slot = keySlot(key);
        if (!concerns(key, this.#copy) || inRanges(dark, slot)) return 0;
        return Number(await this.#cluster.clientOf(slot).call("MEMORY", "USAGE", Buffer.from(key, "latin1")));
      }),
    );
    let done = fitting(sizes);
    const entries = await Promise.all(
      keys.slice(0, done).map(async (key, i): Promise<Entry | undefined> => {
        const slot = keySlot(key);
        if (inRanges(dark, slot)) return undefined;
        // Of an entry of a cache only that it is out of date travels.
        if (!concerns(key, this.#copy)) return { key, absent: true };
        if (sizes[i]! > READ_BYTES) return { key, oversize: sizes[i]! };
        const client = this.#cluster.clientOf(slot);
        const name = Buffer.from(key, "latin1");
        const [reply, time] = await Promise.all([client.callBuffer("DUMP", name), client.call("PEXPIRETIME", name)]);
        const dump = reply as Buffer | null;
        const expiresAt = Number(time);
        if (dump === null || expiresAt === -2) return { key, absent: true };
        if (dump.length > VALUE_BYTES) return { key, oversize: dump.length };
        const value = { key, dump: dump.toString("base64") };
        return expiresAt < 0 ? value : { ...value, expiresAt };
      }),
    );
    // Estimates may be wrong, and values may have grown since.
    done = fitting(entries.map((entry) => (entry && "dump" in entry ? entry.dump.length * 0.75 : 0)));
    return { entries: entries.slice(0, done).filter((entry) => entry !== undefined), done };
  }
}

/** How many values of some sizes fit into an answer: at least one, when there is any. */
function fitting(sizes: readonly number[]): number {
  let bytes = 0;
  let count = 0;
  while (count < sizes.length && (bytes === 0 || bytes + sizes[count]! <= ANSWER_BYTES)) bytes += sizes[count++]!;
  return count;
}

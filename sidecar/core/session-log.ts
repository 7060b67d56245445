import type { Position, Progress } from "./session-protocol.ts";

/** How far the clocks of two controllers of one region may be apart, together with what they take to notice that a slot
 *  has another owner, in milliseconds: by so much earlier another log is taken up than it is said to be known. */
export const CLOCK_MARGIN_MILLIS = 5000;

interface Change {
  readonly key: string;
  readonly sequence: number;
  /** When it was heard of, by the local clock, never going back. */
  readonly at: number;
  /** A moment that it was made after: everything before this had been heard of already. */
  readonly madeAfter: number;
}

export interface Batch {
  /** Keys in the order of their latest changes. */
  readonly keys: readonly string[];
  /** Where a receiver is that has applied the first `applied` of them. */
  positionAfter(applied: number): Position;
  /** Changed keys that come after the first `applied` ones. */
  pendingAfter(applied: number): number;
  /** Age of the oldest change after the first `applied` ones in milliseconds; undefined without any. */
  oldestAfter(applied: number): number | undefined;
}

/** Names of the keys that have changed, each once, in the order of their latest change, no more than `maxKeys` of them.
 *  It says that something changed and not what: who reads it takes values as they are by then. */
export class ChangeLog {
  readonly #maxKeys: number;
  #instance: string | undefined;
  #sequence = 0;
  /** Newest change of each key. */
  #newest = new Map<string, Change>();
  /** In order; with changes among them that newer ones have made void. */
  #changes: Change[] = [];
  /** Changes up to here are no longer listed. */
  #floor = 0;
  #floorAt = -Infinity;
  #since = Infinity;
  #confirmedAt = -Infinity;
  #lastAt = -Infinity;

  constructor(maxKeys: number) {
    this.#maxKeys = maxKeys;
  }

  /** Identity of its present life; undefined while changes may be missed. */
  get instance(): string | undefined {
    return this.#instance;
  }

  get size(): number {
    return this.#newest.size;
  }

  /** A new life begins: from now on every change is heard of. */
  begin(instance: string, now: number): void {
    this.end();
    this.#instance = instance;
    this.#since = this.#confirmedAt = this.#lastAt = now;
  }

  /** Changes may be missed: nothing of it can be relied on any more. */
  end(): void {
    this.#instance = undefined;
    this.#sequence = this.#floor = 0;
    this.#newest = new Map();
    this.#changes = [];
    this.#floorAt = this.#confirmedAt = this.#lastAt = -Infinity;
    this.#since = Infinity;
  }

  /** Every change that was made before `time` has been recorded. */
  confirm(time: number): void {
    if (this.#instance !== undefined) this.#confirmedAt = Math.max(this.#confirmedAt, time);
  }

  record(key: string, now: number): void {
    if (this.#instance === undefined) return;
    this.#lastAt = Math.max(this.#lastAt, now);
    const change = { key, sequence: ++this.#sequence, at: this.#lastAt, madeAfter: this.#confirmedAt };
    this.#newest.delete(key);
    this.#newest.set(key, change);
    this.#changes.push(change);
    if (this.#newest.size > this.#maxKeys) {
      const [oldest] = this.#newest.values();
      this.#newest.delete(oldest!.key);
      this.#floor = oldest!.sequence;
      this.#floorAt = oldest!.at;
    }
    if (this.#changes.length > 2 * this.#newest.size + 64) this.#changes = [...this.#newest.values()];
  }

  /** Where a receiver begins that has just been given everything. */
  head(): Position {
    return {
      instance: this.#instance ?? "",
      next: this.#sequence,
      asOf: this.#confirmedAt,
    };
  }

  /** Number of the change after which a receiver goes on, by its place in this log or, when it has none, by the time
   *  up to which it knows all; undefined when changes in between may be missing here. */
  resume({ marks, asOf }: Progress): number | undefined {
    if (this.#instance === undefined) return undefined;
    const mark = marks.find(({ instance }) => instance === this.#instance);
    if (mark && mark.next >= this.#floor && mark.next <= this.#sequence) return mark.next;
    const time = asOf - CLOCK_MARGIN_MILLIS;
    if (this.#since > time || this.#floorAt >= time || asOf > this.#confirmedAt + CLOCK_MARGIN_MILLIS) return undefined;
    const first = this.#find((change) => change.at >= time);
    return first === undefined ? this.#sequence : this.#changes[first]!.sequence - 1;
  }

  /** Up to `limit` keys that changed after a change, oldest change first. */
  after(sequence: number, limit: number, now: number): Batch {
    const instance = this.#instance ?? "";
    const asOf = this.#confirmedAt;
    const head = this.#sequence;
    const start = this.#find((change) => change.sequence > sequence) ?? this.#changes.length;
    const changes: Change[] = [];
    let count = 0;
    for (let i = start; i < this.#changes.length; i++) {
      const change = this.#changes[i]!;
      if (this.#newest.get(change.key) !== change) continue;
      count++;
      // One more than asked for: it says what is known of the rest.
      if (changes.length <= limit) changes.push(change);
    }
    const keys = changes.slice(0, limit).map(({ key }) => key);
    return {
      keys,
      positionAfter: (applied) => {
        const rest = changes[applied];
        if (rest) return { instance, next: rest.sequence - 1, asOf: Math.min(asOf, rest.madeAfter) };
        return { instance, next: head, asOf };
      },
      pendingAfter: (applied) => count - applied,
      oldestAfter: (applied) => (changes[applied] ? Math.max(0, now - changes[applied].at) : undefined),
    };
  }

  /** Index of the first listed change for which a condition holds that holds for all later ones too. */
  #find(condition: (change: Change) => boolean): number | undefined {
    let low = 0;
    let high = this.#changes.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (condition(this.#changes[middle]!)) high = middle;
      else low = middle + 1;
    }
    return low < this.#changes.length ? low : undefined;
  }
}

import { SLOTS, type SlotRange } from "./redis-nodes.ts";

/** Who gets which slots and whose replica is whose: pure arithmetic over names. */

/** The slots of each of `masters` shards: contiguous, and within one slot of equal size. */
export function shares(masters: number): SlotRange[] {
  return Array.from({ length: masters }, (_, i) => [
    Math.round((i * SLOTS) / masters),
    Math.round(((i + 1) * SLOTS) / masters) - 1,
  ]);
}

export interface Placed {
  /** Id of the node in Redis Cluster. */
  readonly id: string;
  /** The machine it runs on; undefined where that does not matter or is not known. */
  readonly machine: string | undefined;
}

export interface PlacedReplica extends Placed {
  /** Id of its master now, if it has one. */
  readonly masterId: string | undefined;
  /** Must stay where it is. */
  readonly fixed: boolean;
}

// Weights of what is wished, each far over all of the next ones together (for up to 80 replicas).
const UNEVEN = 1_000_000;
const SAME_MACHINE = 1_000;
const MOVED = 1;
const NEVER = 1e12;

/** Gives every replica a master: first evenly, then never on its master's machine, then with as few moves as can be.
 *  @returns the master's id by the replica's id; those without a possible master are left out */
export function assignReplicas(masters: readonly Placed[], replicas: readonly PlacedReplica[]): Map<string, string> {
  if (masters.length === 0 || replicas.length === 0) return new Map();
  // A seat is a replica's place under a master: the more it has already, the dearer. With as many seats a master as
  // there are replicas, those that are fixed always find theirs, however uneven that is.
  const seats = replicas.flatMap((_, level) => masters.map((master) => ({ master, level })));
  const cost = replicas.map((replica) =>
    seats.map(({ master, level }) => {
      if (replica.fixed && replica.masterId !== master.id) return NEVER;
      const together = replica.machine !== undefined && replica.machine === master.machine;
      const moved = replica.masterId !== master.id;
      return level * UNEVEN + (together ? SAME_MACHINE : 0) + (moved ? MOVED : 0);
    }),
  );
  const seatOf = cheapestAssignment(cost);
  const result = new Map<string, string>();
  replicas.forEach((replica, i) => {
    const seat = seatOf[i]!;
    if (cost[i]![seat]! < NEVER) result.set(replica.id, seats[seat]!.master.id);
  });
  return result;
}

/** Chooses `count` of the candidates, spread over as many machines as can be, counting those in `taken` already; among
 *  equals the first.
 *  @returns the chosen candidates, in the order in which they were chosen */
export function chooseSpread<T extends Placed>(candidates: readonly T[], count: number, taken: readonly Placed[]): T[] {
  const load = new Map<string | undefined, number>();
  const add = (machine: string | undefined) => load.set(machine, (load.get(machine) ?? 0) + 1);
  for (const { machine } of taken) add(machine);
  const left = [...candidates];
  const chosen: T[] = [];
  while (chosen.length < count && left.length > 0) {
    let best = 0;
    for (let i = 1; i < left.length; i++) {
      if ((load.get(left[i]!.machine) ?? 0) < (load.get(left[best]!.machine) ?? 0)) best = i;
    }
    const [next] = left.splice(best, 1);
    chosen.push(next!);
    add(next!.machine);
  }
  return chosen;
}

/** The assignment of rows to distinct columns with the least total cost: the Hungarian method, O(rows² · columns).
 *  @param cost one row each, all of the same length, which is at least the number of rows
 *  @returns the column of each row */
export function cheapestAssignment(cost: readonly (readonly number[])[]): number[] {
  const rows = cost.length;
  const columns = cost[0]?.length ?? 0;
  // Rows and columns count from 1; column 0 stands for "none yet".
  const rowPrice = new Float64Array(rows + 1);
  const columnPrice = new Float64Array(columns + 1);
  const rowAt = new Int32Array(columns + 1);
  const cameFrom = new Int32Array(columns + 1);
  for (let row = 1; row <= rows; row++) {
    rowAt[0] = row;
    let column = 0;
    const slack = new Float64Array(columns + 1).fill(Infinity);
    const done = new Uint8Array(columns + 1);
    do {
      done[column] = 1;
      const current = rowAt[column]!;
      let step = Infinity;
      let next = 0;
      for (let j = 1; j <= columns; j++) {
        if (done[j]) continue;
        const reduced = cost[current - 1]![j - 1]! - rowPrice[current]! - columnPrice[j]!;
        if (reduced < slack[j]!) {
          slack[j] = reduced;
          cameFrom[j] = column;
        }
        if (slack[j]! < step) {
          step = slack[j]!;
          next = j;
        }
      }
      for (let j = 0; j <= columns; j++) {
        if (done[j]) {
          rowPrice[rowAt[j]!]! += step;
          columnPrice[j]! -= step;
        } else slack[j]! -= step;
      }
      column = next;
    } while (rowAt[column] !== 0);
    // Along the path that was found, every row takes the column found for it.
    while (column !== 0) {
      const previous = cameFrom[column]!;
      rowAt[column] = rowAt[previous]!;
      column = previous;
    }
  }
  const result = new Array<number>(rows).fill(0);
  for (let j = 1; j <= columns; j++) if (rowAt[j]! > 0) result[rowAt[j]! - 1] = j - 1;
  return result;
}

import { inRanges, keySlot } from "./redis-slots.ts";
import { SLOTS, type SlotRange } from "./redis-nodes.ts";
import {
  MAX_MARKS,
  PATHS,
  pathOf,
  progressQuery,
  type ChangesAnswer,
  type Cursor,
  type Entry,
  type Origin,
  type Place,
  type Position,
  type Progress,
  type SnapshotAnswer,
} from "./session-protocol.ts";

/** How a receiver goes forward: what it asks next, and what follows from an answer. State is copied and not events, so a
 *  batch that is applied twice, or after a later one was, does no harm that the next batches do not mend. No I/O.
 *
 *  First the source's position is remembered, then all its keys are walked over, then come the changes from that
 *  position on: whatever changed during the walk is among them. */

export type Question =
  | { readonly kind: "changes"; readonly path: string }
  | { readonly kind: "snapshot"; readonly path: string; readonly from: Place };

/** Local keys that are to go when the source does not have them: those between two places. */
export interface Sweep {
  readonly from: Place;
  /** Up to and including this place; undefined: to the end. */
  readonly to: Place | undefined;
  /** Slots in which nothing goes. */
  readonly dark: readonly SlotRange[];
}

export interface Step {
  readonly entries: readonly Entry[];
  readonly sweep: Sweep | undefined;
  /** Where the receiver is once these are applied. */
  readonly cursor: Cursor;
  /** Whether more is known to wait. */
  readonly more: boolean;
}

/** A cursor that still says something: the source is the same, under the same epoch, and so are the receiver's masters. */
export function usable(cursor: Cursor | undefined, { source, epoch, local }: Origin): Cursor | undefined {
  return cursor?.source === source && cursor.epoch === epoch && cursor.local === local ? cursor : undefined;
}

/** What to ask the source now. */
export function question(cursor: Cursor | undefined, limit: number): Question {
  if (!cursor) return { kind: "changes", path: pathOf(PATHS.changes, { limit }) };
  const at = { ...progressQuery(cursor.progress), limit };
  if (!cursor.snapshot) return { kind: "changes", path: pathOf(PATHS.changes, at) };
  const { slot, after } = cursor.snapshot;
  return { kind: "snapshot", path: pathOf(PATHS.snapshot, { ...at, slot, key: after }), from: cursor.snapshot };
}

/** What follows from the answer to a question.
 *  @throws RangeError for an answer that fits no question: nothing of it may be applied */
export function step(
  cursor: Cursor | undefined,
  asked: Question,
  answer: ChangesAnswer | SnapshotAnswer,
  { source, epoch, local }: Origin,
  limit: number,
): Step {
  const origin = { source, epoch, local };
  if ("resync" in answer) {
    // Places in other logs still hold: what changed before them is met by the walk.
    const start: Cursor = { ...origin, progress: advance(cursor?.progress, answer), snapshot: { slot: 0 } };
    return { entries: [], sweep: undefined, cursor: start, more: true };
  }
  if (answer.entries.length > limit)
    throw new RangeError(`${answer.entries.length} keys in a batch that was to have ${limit} at most`);
  if (!cursor) throw new RangeError("changes without a position to count them from");
  const { entries, pending } = answer;
  if (asked.kind === "changes") {
    if (!("instance" in answer)) throw new RangeError("part of a walk over all keys, and not the changes asked for");
    const reached: Cursor = { ...origin, progress: advance(cursor.progress, answer) };
    return { entries, sweep: undefined, cursor: reached, more: pending > 0 };
  }
  if ("instance" in answer) throw new RangeError("changes, and not the part of a walk over all keys asked for");
  const { to, dark } = answer;
  if (to && comparePlaces(to, asked.from) <= 0) throw new RangeError("a walk over all keys that does not go forward");
  return {
    entries,
    sweep: { from: asked.from, to, dark },
    cursor: { ...origin, progress: cursor.progress, ...(to ? { snapshot: to } : {}) },
    more: true,
  };
}

/** A new place in one log; those in others still hold, as they only say that less is applied. */
function advance(before: Progress | undefined, { instance, next, asOf }: Position): Progress {
  const others = before?.marks.filter((mark) => mark.instance !== instance) ?? [];
  return {
    marks: [{ instance, next }, ...others].slice(0, MAX_MARKS),
    asOf: Math.max(asOf, before?.asOf ?? -Infinity),
  };
}

/** Slots that a sweep looks at, from the first to the last. */
export function sweptSlots({ from, to, dark }: Sweep): number[] {
  const last = to ? (to.after === undefined ? to.slot - 1 : to.slot) : SLOTS - 1;
  const slots: number[] = [];
  for (let slot = from.slot; slot <= last; slot++) if (!inRanges(dark, slot)) slots.push(slot);
  return slots;
}

/** Which local keys of a slot have to go: those whose values are copied and that the source does not have, and all that
 *  may be out of date. */
export function leftovers(
  sweep: Sweep,
  slot: number,
  local: readonly string[],
  atSource: ReadonlySet<string>,
  prefixes: { readonly copy: readonly string[]; readonly invalidate: readonly string[] },
): string[] {
  const { from, to } = sweep;
  const has = (list: readonly string[], key: string) => list.some((prefix) => key.startsWith(prefix));
  return local.filter((key) => {
    if (slot === from.slot && from.after !== undefined && key <= from.after) return false;
    if (to && slot === to.slot && (to.after === undefined || key > to.after)) return false;
    return has(prefixes.invalidate, key) || (has(prefixes.copy, key) && !atSource.has(key));
  });
}

/** Where a walk goes on after a part of it.
 *  @param keys of the part, in order; not empty
 *  @param slot of the key that comes next */
export function placeAfter(keys: readonly string[], slot: number): Place {
  const last = keys.at(-1)!;
  return keySlot(last) === slot ? { slot, after: last } : { slot };
}

/** Whether a key has one of some prefixes. */
export function concerns(key: string, prefixes: readonly string[]): boolean {
  return prefixes.some((prefix) => key.startsWith(prefix));
}

/** In the order of slots, and of bytes within a slot. */
export function comparePlaces(a: Place, b: Place): number {
  if (a.slot !== b.slot) return a.slot - b.slot;
  if (a.after === b.after) return 0;
  if (a.after === undefined) return -1;
  if (b.after === undefined) return 1;
  return a.after < b.after ? -1 : 1;
}

/** The order in which a walk over all keys passes them. */
export function compareKeys(a: string, b: string): number {
  return comparePlaces({ slot: keySlot(a), after: a }, { slot: keySlot(b), after: b });
}

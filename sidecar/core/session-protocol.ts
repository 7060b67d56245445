import { z } from "zod";
import { SLOTS } from "./redis-nodes.ts";

/** What region controllers say to each other when one copies the other's sessions. Keys are their bytes as text, one
 *  character each (latin1), so that any key passes through JSON as it is. Keys of sessions are secrets: they stand in
 *  answers between controllers and in no log and no message. */

/** Beginning of the keys, in the receiver's Redis, that tell how far its copying is. */
export const CURSOR_PREFIX = "iam-ha:sync:";
/** Channel on which Redis tells the names of changed keys. */
export const INVALIDATION_CHANNEL = "__redis__:invalidate";

export const PATHS = {
  changes: "/sessions/changes",
  snapshot: "/sessions/snapshot",
  digests: "/sessions/digests",
} as const;

const count = z.int().min(0);
const millis = z.number();
const slot = z
  .int()
  .min(0)
  .max(SLOTS - 1);
const ranges = z.array(z.tuple([slot, slot]).readonly());

/** A place in the sequence of a source's changes. */
const position = z.object({
  instance: z
    .string()
    .min(1)
    .max(100)
    .describe("life of the source's log: sequence numbers mean something in one only"),
  next: count.describe("number of the last change that is applied"),
  asOf: millis.describe(
    "by the source's clock, Unix time in milliseconds: every change before is applied. By it another log of the same source can be taken up",
  ),
});
export type Position = z.infer<typeof position>;

/** Lives of logs in which a receiver's place is remembered at most. */
export const MAX_MARKS = 4;

/** What a receiver has applied. A source has several controllers, each with a log of its own, and any of them may be the
 *  one that a question reaches: the place in each is kept. */
const progress = z.object({
  marks: z
    .array(position.pick({ instance: true, next: true }))
    .max(MAX_MARKS)
    .describe("the last change that is applied in each life of a log, the latest first"),
  asOf: position.shape.asOf,
});
export type Progress = z.infer<typeof progress>;

/** A place in a source's keys, in the order of slots and, within a slot, of bytes. */
const place = z.object({
  slot,
  after: z.string().optional().describe("last key of this slot that is done; undefined: none is"),
});
export type Place = z.infer<typeof place>;

/** How far a receiver is, as it is kept in its own Redis. */
export const cursor = z.object({
  source: z.string().min(1),
  epoch: z
    .int()
    .min(0)
    .describe("under which some region is active: once it has changed, the receiver may have been active itself"),
  progress,
  snapshot: place.optional().describe("where the walk over all keys goes on; undefined: it is over"),
  local: z
    .string()
    .describe("identity of the receiver's own masters: another one may lack what was written just before it took over"),
});
export type Cursor = z.infer<typeof cursor>;

/** Where a receiver copies from, and into what. */
export type Origin = Pick<Cursor, "source" | "epoch" | "local">;

/** One key as it is at the source at the time of the answer. */
const entry = z.union([
  z.object({ key: z.string(), absent: z.literal(true) }),
  z.object({
    key: z.string(),
    dump: z.string().describe("reply of DUMP, in base64; it has a checksum of its own"),
    expiresAt: z.number().min(0).optional().describe("Unix time in milliseconds; undefined: never"),
  }),
  z.object({ key: z.string(), oversize: count.describe("bytes of a value that is too big to travel") }),
]);
export type Entry = z.infer<typeof entry>;

const resync = position.extend({ resync: z.literal(true) });

/** Answer to `/sessions/changes`. */
export const changesAnswer = z.union([
  resync,
  position.extend({
    entries: z.array(entry),
    pending: count.describe("keys changed after this batch"),
    oldestMillis: millis.optional().describe("age of the oldest change from where the receiver was"),
    restMillis: millis.optional().describe("age of the oldest change after this batch"),
  }),
]);
export type ChangesAnswer = z.infer<typeof changesAnswer>;

/** Answer to `/sessions/snapshot`: all keys from one place to the next. */
export const snapshotAnswer = z.union([
  resync,
  z.object({
    entries: z.array(entry),
    to: place.optional().describe("where to go on; undefined: these were the last"),
    dark: ranges.describe("slots that nobody serves at the source: nothing is known of them"),
    pending: count,
  }),
]);
export type SnapshotAnswer = z.infer<typeof snapshotAnswer>;

/** Answer to `/sessions/digests`: what keys in some slots hold. */
export const digestsAnswer = z.object({
  to: place.optional().describe("up to where keys were looked at; undefined: to the end"),
  dark: ranges,
  digests: z.array(z.object({ key: z.string(), digest: z.string(), expiresAt: z.number().optional() })),
});
export type DigestsAnswer = z.infer<typeof digestsAnswer>;

const number = z
  .string()
  .regex(/^[0-9]{1,16}$/)
  .transform(Number);
const positionQuery = {
  at: z
    .string()
    .max(1000)
    .regex(/^[A-Za-z0-9-]+_[0-9]{1,16}(,[A-Za-z0-9-]+_[0-9]{1,16})*$/)
    .transform((text) =>
      text.split(",").map((mark) => {
        const [instance, next] = mark.split("_");
        return { instance: instance!, next: Number(next) };
      }),
    )
    .optional(),
  asOf: number.default(0),
};
const limit = number.pipe(z.number().min(1).max(10_000)).default(100);

export const changesQuery = z.strictObject({ ...positionQuery, limit });
export const snapshotQuery = z.strictObject({
  ...positionQuery,
  slot: number.pipe(slot).default(0),
  key: z.string().optional(),
  limit,
});
export const digestsQuery = z.strictObject({ slot: number.pipe(slot), limit });

/** Reads a query by its schema.
 *  @throws RangeError with the field and what is wrong with it */
export function parseQuery<T>(schema: z.ZodType<T>, query: URLSearchParams): T {
  const parsed = schema.safeParse(Object.fromEntries(query));
  if (parsed.success) return parsed.data;
  throw new RangeError(parsed.error.issues.map(({ path, message }) => `${path.join(".")}: ${message}`).join("; "));
}

/** The receiver's progress as a part of a query, to be read by `positionQuery`. */
export function progressQuery({ marks, asOf }: Progress): { at: string; asOf: number } {
  // Rounded down: to have applied less is always true.
  return {
    at: marks.map(({ instance, next }) => `${instance}_${next}`).join(","),
    asOf: Math.max(0, Math.floor(asOf)),
  };
}

/** Path of a question, with its query; undefined values are left out. */
export function pathOf(path: string, query: Record<string, string | number | undefined>): string {
  const given = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) if (value !== undefined) given.set(name, String(value));
  return `${path}?${given.toString()}`;
}

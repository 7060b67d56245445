/** Content of one row, without the content: all that leaves a region for a comparison. */
export interface RowDigest {
  /** Where the row is in its table: physical copies have it at the same place. */
  readonly place: string;
  /** Transaction that wrote it. */
  readonly writer: string;
  /** Digest of its content, with a salt that the asking side chose. */
  readonly hash: string;
}

/** `GET /digest`. */
export interface DigestAnswer {
  /** Position of the database when the rows had been read; a copy that has replayed it has all of them. */
  readonly lsn: string;
  readonly rows: readonly RowDigest[];
  /** Place of the last row that was read when there were more than asked for; undefined when these are all. */
  readonly cutAt: string | undefined;
  /** Size of the table in pages of 8 KiB. */
  readonly pages: number;
}

/** A stretch of a table: pages `from` to `to`, both included. */
export interface PageRange {
  readonly from: number;
  readonly to: number;
}

export interface Comparison {
  /** Rows that were the same in both readings of the source and were compared. */
  readonly compared: number;
  /** Places of rows that differ, are missing here, or are here alone. */
  readonly differing: readonly string[];
}

/**
 * Compares a copy with its source while both go on: the source is read, then the copy once it has replayed the position
 * of that reading, then the source again. A row that both readings of the source show alike was there all the time
 * between, so the copy must have it, and alike; a row that neither shows must not be here. Everything else changed
 * meanwhile, and says nothing.
 */
export function compareDigests(
  first: readonly RowDigest[],
  copy: readonly RowDigest[],
  second: readonly RowDigest[],
): Comparison {
  const a = byPlace(first);
  const b = byPlace(second);
  const mine = byPlace(copy);
  const differing: string[] = [];
  let compared = 0;
  for (const [place, row] of a) {
    const later = b.get(place);
    if (!later || !alike(row, later)) continue;
    compared++;
    const own = mine.get(place);
    if (!own || !alike(row, own)) differing.push(place);
  }
  for (const place of mine.keys()) if (!a.has(place) && !b.has(place)) differing.push(place);
  return { compared, differing };
}

function byPlace(rows: readonly RowDigest[]): Map<string, RowDigest> {
  return new Map(rows.map((row) => [row.place, row]));
}

function alike(a: RowDigest, b: RowDigest): boolean {
  return a.writer === b.writer && a.hash === b.hash;
}

/** The stretch of a table that a sample takes: `span` pages from a place that `random` (0 to 1) chooses, so that in time
 *  every page has its turn. */
export function sampleRange(pages: number, span: number, random: number): PageRange {
  if (pages <= span) return { from: 0, to: Math.max(pages, span) };
  const from = Math.min(pages - 1, Math.floor(random * pages));
  return { from, to: Math.min(pages, from + span - 1) };
}

/** A stretch in which something differed, until it no longer does. */
export interface Suspicion {
  readonly table: string;
  readonly range: PageRange;
  /** Comparisons in a row that showed a difference. */
  readonly seen: number;
  /** Places that differed in every one of them. */
  readonly places: readonly string[];
}

/** Comparisons that must show the same difference before it is reported: a transaction that was not yet on disk at the
 *  source, or one that came and went, makes a difference of a moment. */
export const CONFIRMATIONS = 3;

/** What is suspected of a stretch after one more comparison of it; undefined when nothing is. */
export function suspect(
  before: Suspicion | undefined,
  table: string,
  range: PageRange,
  differing: readonly string[],
): Suspicion | undefined {
  if (differing.length === 0) return undefined;
  if (!before) return { table, range, seen: 1, places: differing };
  const places = differing.filter((place) => before.places.includes(place));
  // Other rows than before: the suspicion begins anew with them.
  if (places.length === 0) return { table, range, seen: 1, places: differing };
  return { table, range, seen: before.seen + 1, places };
}

/** A row and a time in milliseconds since the epoch, on the one clock of this machine. */
export interface Stamp {
  readonly id: number;
  readonly at: number;
}

/** How long each acknowledged row took until it could be read elsewhere, in milliseconds: the first reading that shows
 *  it or a later one. Never negative: a row may be seen before its writer has heard of its commit. */
export function lags(written: readonly Stamp[], seen: readonly Stamp[]): number[] {
  const sorted = [...seen].sort((a, b) => a.id - b.id);
  let i = 0;
  return [...written]
    .sort((a, b) => a.id - b.id)
    .flatMap(({ id, at }) => {
      while (i < sorted.length && sorted[i]!.id < id) i++;
      const first = sorted[i];
      return first === undefined ? [] : [Math.max(0, first.at - at)];
    });
}

/** The smallest figure that a share of all figures does not exceed; NaN of none. */
export function percentile(figures: readonly number[], share: number): number {
  const sorted = [...figures].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? NaN;
}

export function parseStamps(text: string): Stamp[] {
  return text
    .split("\n")
    .filter(Boolean)
    .map((line) => JSON.parse(line) as Stamp);
}

/** One term of a sum that a rule holds against a limit. */
export interface Term {
  readonly count: number;
  /** What is counted, in the plural: `replicas`. */
  readonly of: string;
}

export function totalOf(terms: readonly Term[]): number {
  return terms.reduce((sum, { count }) => sum + count, 0);
}

/** The sum term by term, for messages: `3 replicas + 2 other regions = 5`. */
export function sumOf(terms: readonly Term[]): string {
  return `${terms.map(({ count, of }) => `${count} ${of}`).join(" + ")} = ${totalOf(terms)}`;
}

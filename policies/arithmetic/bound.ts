/** One part of a bound: how long it may take at worst, and where that is written. */
export interface Term {
  /** What takes the time, in words. */
  readonly what: string;
  /** Seconds; Infinity where nothing bounds it. */
  readonly seconds: number;
  /** File and field, or what else the figure rests on. */
  readonly source: string;
}

/** The longest that something takes: the sum of its terms, none of which overlaps another. */
export interface Bound {
  readonly terms: readonly Term[];
  /** What would belong to it and is not counted, in words: parts that do not exist, and what breaks the bound. */
  readonly without: readonly string[];
}

/** A figure of a stack: seconds, or a count. */
export interface Given {
  readonly value: number;
  /** `ConfigMap/redis-config redis.conf cluster-node-timeout`. */
  readonly source: string;
}

/** Seconds of a bound. */
export function secondsOf({ terms }: Pick<Bound, "terms">): number {
  return terms.reduce((sum, { seconds }) => sum + seconds, 0);
}

/** A term that a stack's figure gives as it is. */
export function term(what: string, { value, source }: Given): Term {
  return { what, seconds: value, source };
}

/** A term of several figures. Their places are told together, each file once. */
export function termOf(what: string, seconds: number, ...from: readonly Given[]): Term {
  const fields = new Map<string, Set<string>>();
  for (const { source } of from) {
    const [, file = source, field = ""] = /^([A-Z][A-Za-z]+\/\S+ \S+) (.+)$/.exec(source) ?? [];
    fields.set(file, (fields.get(file) ?? new Set()).add(field));
  }
  const source = [...fields].map(([file, names]) => `${file} ${[...names].join(", ")}`.trim()).join("; ");
  return { what, seconds, source };
}

/** Of two things that go on at the same time, the one that takes longer: the other is over by then. */
export function slower(one: readonly Term[], other: readonly Term[]): readonly Term[] {
  return secondsOf({ terms: one }) >= secondsOf({ terms: other }) ? one : other;
}

/** `62.4 s`; `no bound` for Infinity. */
export function printSeconds(seconds: number): string {
  return Number.isFinite(seconds) ? `${Math.round(seconds * 1000) / 1000} s` : "no bound";
}

/** `20 s ttl of the lock [source] + 2 s …`, and what is not counted. Terms of 0 s are told: they say why nothing is
 *  waited for. */
export function printBound(bound: Bound): string {
  const sum = bound.terms
    .map(({ what, seconds, source }) => `${printSeconds(seconds)} ${what} [${source}]`)
    .join(" + ");
  return bound.without.length > 0 ? `${sum}; not counted: ${bound.without.join("; ")}` : sum;
}

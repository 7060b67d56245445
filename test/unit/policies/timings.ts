import fc from "fast-check";
import type { Given } from "../../../policies/arithmetic/bound.ts";
import type { LinkTimings, Pods, Probe, Timings } from "../../../policies/arithmetic/timings.ts";

const seconds = fc.double({ min: 0, max: 1000, noNaN: true });

function given(value: fc.Arbitrary<number> = seconds): fc.Arbitrary<Given> {
  return value.map((figure) => ({ value: figure, source: "drawn" }));
}

const count = given(fc.integer({ min: 0, max: 20 }));
const probe: fc.Arbitrary<Probe> = fc.record({ period: given(), failures: count, timeout: given() });
const pods = {
  alone: fc.boolean(),
  moves: fc.boolean(),
  readiness: fc.option(probe, { nil: undefined }),
  liveness: fc.option(probe, { nil: undefined }),
  grace: given(),
  toleration: given(),
} satisfies { [key in keyof Pods]: fc.Arbitrary<Pods[key]> };
const link: fc.Arbitrary<LinkTimings> = fc.record({
  from: fc.constantFrom("a", "b"),
  to: fc.constantFrom("c", "d"),
  interval: given(),
  attempts: count,
  retryDelay: given(),
});

/** Any stack's timings. */
export const anyTimings: fc.Arbitrary<Timings> = fc.record({
  edge: fc.record({
    ...pods,
    balanced: fc.boolean(),
    proxyConnect: given(),
    proxyRead: given(),
    upstreamIdle: given(),
    poll: given(),
    call: given(),
    resolve: given(),
  }),
  api: fc.record(pods),
  pooler: fc.record({
    ...pods,
    inter: given(),
    fastInter: given(),
    downInter: given(),
    fall: count,
    rise: count,
    check: given(),
    connect: given(),
    retries: count,
    loginRetry: given(),
  }),
  patroni: fc.record({
    ttl: given(),
    loopWait: given(),
    primaryStart: given(),
    standbyDelay: given(fc.oneof(seconds, fc.constant(Infinity))),
    receiverTimeout: given(),
    retrieveRetry: given(),
    synchronous: fc.option(fc.constant("quorum"), { nil: undefined }),
    strict: fc.boolean(),
    archive: fc.option(given(), { nil: undefined }),
  }),
  redis: fc.record({ nodeTimeout: given() }),
  controller: fc.record({
    ...pods,
    leaseTtl: given(),
    witnessCall: given(),
    databaseCall: given(),
    interval: given(),
    maxLag: given(),
    sourceLost: given(),
    links: fc.array(link, { maxLength: 3 }),
    takeoverLink: fc.option(link, { nil: undefined }),
  }),
  dns: fc.option(fc.record({ ttl: given() }), { nil: undefined }),
  witness: fc.record({ election: given() }),
});

/** Paths of all figures. */
export function figuresOf(value: unknown, path: readonly string[] = []): (readonly string[])[] {
  if (typeof value !== "object" || value === null) return [];
  if ("value" in value && "source" in value) return [path];
  return Object.entries(value).flatMap(([key, inner]) => figuresOf(inner, [...path, key]));
}

/** The same with one figure changed. */
export function withFigure(timings: Timings, path: readonly string[], change: (value: number) => number): Timings {
  const copy = structuredClone(timings);
  const given = path.reduce<unknown>((at, key) => (at as Record<string, unknown>)[key], copy) as { value: number };
  given.value = change(given.value);
  return copy;
}

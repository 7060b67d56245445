import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import fc from "fast-check";
import { assumptionsShape, DEFAULT_ASSUMPTIONS, type Assumptions } from "../../../policies/arithmetic/assumptions.ts";
import { printBound, printSeconds, secondsOf, slower, termOf, type Bound } from "../../../policies/arithmetic/bound.ts";
import { ENGINES } from "../../../policies/arithmetic/engines.ts";
import { FUNCTIONS, OBJECTIVES } from "../../../policies/arithmetic/functions.ts";
import { leaseNeeds } from "../../../policies/arithmetic/lease.ts";
import { recoveryPoints } from "../../../policies/arithmetic/recovery-point.ts";
import { recoveryTimes } from "../../../policies/arithmetic/recovery-time.ts";
import type { Timings } from "../../../policies/arithmetic/timings.ts";
import { regionControllerSettings } from "../../../components/region-controller/settings.ts";
import { STATUS_TIMEOUT_MILLIS } from "../../../sidecar/region/peers.ts";
import { REQUEST_MILLIS } from "../../../sidecar/region/sessions/receiver.ts";
import { anyTimings, figuresOf, withFigure } from "./timings.ts";

const anyAssumptions: fc.Arbitrary<Assumptions> = fc.record(
  Object.fromEntries(
    Object.keys(assumptionsShape).map((key) => [key, fc.double({ min: 0, max: 1000, noNaN: true })]),
  ) as { [key in keyof Assumptions]: fc.Arbitrary<number> },
);

/** Every bound, by name, in order. */
function bounds(timings: Timings, assumptions: Assumptions): (Bound & { readonly name: string })[] {
  return [
    ...recoveryTimes(timings, assumptions).map((one) => ({ ...one, name: `time ${one.name}` })),
    ...recoveryPoints(timings).map((one) => ({ ...one, name: `point ${one.name}` })),
  ];
}

function assertNotSmaller(before: ReturnType<typeof bounds>, after: ReturnType<typeof bounds>, what: string): void {
  assert.deepEqual(
    after.map(({ name }) => name),
    before.map(({ name }) => name),
  );
  for (const [i, bound] of before.entries()) {
    const [old, now] = [secondsOf(bound), secondsOf(after[i]!)];
    // The order of a sum may cost a last digit.
    assert.ok(
      old === now || now >= old - 1e-9 * Math.max(1, old),
      `${what}: ${bound.name} falls from ${old} to ${now}`,
    );
  }
}

const more = fc.double({ min: 0, max: 10_000, noNaN: true });

describe("arithmetic of recovery", () => {
  it("no timing that gets slower makes any bound smaller", () => {
    fc.assert(
      fc.property(anyTimings, anyAssumptions, more, (timings, assumptions, delta) => {
        const before = bounds(timings, assumptions);
        for (const path of figuresOf(timings))
          assertNotSmaller(
            before,
            bounds(
              withFigure(timings, path, (value) => value + delta),
              assumptions,
            ),
            path.join("."),
          );
      }),
    );
  });

  it("no assumption that gets slower makes any bound smaller", () => {
    fc.assert(
      fc.property(anyTimings, anyAssumptions, more, (timings, assumptions, delta) => {
        const before = bounds(timings, assumptions);
        for (const key of Object.keys(assumptions) as (keyof Assumptions)[])
          assertNotSmaller(before, bounds(timings, { ...assumptions, [key]: assumptions[key] + delta }), key);
      }),
    );
  });

  it("a bound is the sum of its terms, each of which is told with its place", () => {
    fc.assert(
      fc.property(anyTimings, anyAssumptions, (timings, assumptions) => {
        for (const bound of bounds(timings, assumptions)) {
          const text = printBound(bound);
          let sum = 0;
          for (const { what, seconds, source } of bound.terms) {
            assert.ok(seconds >= 0 && what !== "" && source !== "", `${bound.name}: ${what}`);
            assert.ok(text.includes(`${printSeconds(seconds)} ${what} [${source}]`), text);
            sum += seconds;
          }
          assert.equal(secondsOf(bound), sum);
          for (const missing of bound.without) assert.ok(text.includes(missing), text);
        }
      }),
    );
  });

  it("what is not there is told, and what is there has its term", () => {
    fc.assert(
      fc.property(anyTimings, anyAssumptions, (timings, assumptions) => {
        const named = new Map(bounds(timings, assumptions).map((bound) => [bound.name, bound]));
        const region = named.get("time active-region")!.without.join();
        assert.match(region, /takeover itself.*recovery plans: there are none/);
        assert.equal(/the platform's name/.test(region), timings.dns === undefined);
        assert.match(named.get("point active-region")!.without.join(), /guard .* there is none/);
        const primary = named.get("point primary")!;
        if (timings.patroni.synchronous) assert.equal(secondsOf(primary), 0);
        else assert.equal(secondsOf(primary), timings.patroni.loopWait.value);
        assert.match(primary.without.join(), timings.patroni.synchronous ? /loss of the primary/ : /maximum_lag/);
        assert.equal(named.has("point archive"), timings.patroni.archive !== undefined);
        assert.equal(
          secondsOf(named.get("point takeover-sessions")!) === Infinity,
          timings.controller.takeoverLink === undefined,
        );
      }),
    );
  });

  it("a wait without an end is no bound", () => {
    fc.assert(
      fc.property(anyTimings, anyAssumptions, (timings, assumptions) => {
        const endless = withFigure(timings, ["patroni", "standbyDelay"], () => Infinity);
        const primary = recoveryTimes(endless, assumptions).find(({ name }) => name === "primary-node")!;
        assert.equal(printSeconds(secondsOf(primary)), "no bound");
        const unwatched = { ...timings, pooler: { ...timings.pooler, readiness: undefined, liveness: undefined } };
        const pooler = recoveryTimes(unwatched, assumptions).find(({ name }) => name === "pooler-pod")!;
        assert.equal(secondsOf(pooler), Infinity);
      }),
    );
  });

  it("of two things at the same time the longer one counts", () => {
    const [short, long] = [termOf("short", 1), termOf("long", 2)];
    assert.deepEqual(slower([short], [long]), [long]);
    assert.deepEqual(slower([short, short, short], [long]), [short, short, short]);
  });

  it("places in one file are told together", () => {
    const given = (source: string) => ({ value: 1, source });
    assert.equal(
      termOf("", 1, given("ConfigMap/a b.cfg fall"), given("ConfigMap/a b.cfg rise"), given("elsewhere")).source,
      "ConfigMap/a b.cfg fall, rise; elsewhere",
    );
  });

  it("every function of §5.4.4 has one objective, and all but backup-restoration a bound of each kind", () => {
    assert.deepEqual(OBJECTIVES.flatMap(({ functions }) => functions).sort(), [...FUNCTIONS].sort());
    const figures = OBJECTIVES.map(({ name, recoveryTime, recoveryPoint }) => [name, recoveryTime, recoveryPoint]);
    assert.deepEqual(figures, [
      ["core-business", 300, 60],
      ["data-services", 600, 300],
    ]);
    const [timings] = fc.sample(anyTimings, { numRuns: 1, seed: 1 });
    const withoutArchive = { ...timings!, patroni: { ...timings!.patroni, archive: undefined } };
    const linked = { ...withoutArchive, controller: { ...timings!.controller, links: [] } };
    for (const rows of [recoveryTimes(linked, DEFAULT_ASSUMPTIONS), recoveryPoints(linked)])
      assert.deepEqual(
        FUNCTIONS.filter((name) => !rows.some(({ functions }) => functions.includes(name))),
        ["backup-restoration"],
      );
  });

  it("what it says of the project's own programs is what they do", () => {
    assert.equal(ENGINES.statusCall.value * 1000, STATUS_TIMEOUT_MILLIS);
    assert.equal(ENGINES.sessionCall.value * 1000, REQUEST_MILLIS);
    const text = (path: string) => readFileSync(new URL(`../../../${path}`, import.meta.url), "utf8");
    const look = /^const LOOK_MILLIS = ([0-9]+);$/m.exec(text("sidecar/region/sessions/index.ts"))?.[1];
    assert.equal(ENGINES.sessionLook.value * 1000, Number(look));
    const entrypoint = text("images/edge/edge-entrypoint");
    const poll = Number(/EDGE_POLL_SECONDS:-([0-9]+)/.exec(entrypoint)?.[1]);
    const [, most, each] = /n < ([0-9]+)\)\) && read -r -t ([0-9.]+)/.exec(entrypoint) ?? [];
    assert.equal(ENGINES.edgeReload.value, poll + Number(most) * Number(each));
  });
});

describe("margin of the lease", () => {
  const anyLease = fc.record({
    leaseTtlSeconds: fc.integer({ min: 3, max: 300 }),
    callMillis: fc.integer({ min: 100, max: 30_000 }),
    electionMillis: fc.integer({ min: 100, max: 50_000 }),
    skewMillis: fc.integer({ min: 0, max: 60_000 }),
  });

  it("what the controller's settings refuse has no margin", () => {
    fc.assert(
      fc.property(anyLease, (lease) => {
        const { leaseTtlSeconds, callMillis } = lease;
        const settings = { leaseTtlSeconds, witnessTimeoutMillis: callMillis };
        if (!regionControllerSettings.safeParse(settings).success)
          assert.ok(leaseNeeds(lease).held > leaseTtlSeconds * 1000);
      }),
    );
  });

  it("a holder that meets a member that hangs at every call stops before the witness lets the lease go", () => {
    fc.assert(
      fc.property(anyLease, (lease) => {
        const { leaseTtlSeconds, callMillis, skewMillis } = lease;
        const { rhythm, held } = leaseNeeds(lease);
        fc.pre(held <= leaseTtlSeconds * 1000);
        // By the holder's clock, from the last renewal that was answered; the witness' clock is as fast as it may be.
        let now = rhythm;
        for (let calls = 0; calls < 3; calls++) now += callMillis;
        assert.ok(now <= leaseTtlSeconds * 1000 - skewMillis);
      }),
    );
  });

  it("slower calls, elections and clocks never need a shorter lease", () => {
    fc.assert(
      fc.property(anyLease, fc.integer({ min: 0, max: 1000 }), (lease, delta) => {
        const before = leaseNeeds(lease);
        for (const key of ["callMillis", "electionMillis", "skewMillis"] as const) {
          const after = leaseNeeds({ ...lease, [key]: lease[key] + delta });
          assert.ok(after.held >= before.held && after.elected >= before.elected, key);
        }
      }),
    );
  });
});

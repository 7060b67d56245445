import assert from "node:assert/strict";
import fc from "fast-check";
import { DEFAULT_LINKS, linkBetween, sourcesOf, type Link } from "../../../sidecar/core/link.ts";
import { bytesBehind, formatLsn, parseLsn, reached } from "../../../sidecar/core/lsn.ts";
import {
  addError,
  addSample,
  errorsOf,
  lagSeconds,
  newTrack,
  NO_ERRORS,
  postgresLink,
} from "../../../sidecar/core/region-links.ts";
import { database } from "../../support/region.ts";

const NAMES = ["a", "b", "c", "d", "e"];
const anyLinks: fc.Arbitrary<Link[]> = fc
  .uniqueArray(fc.tuple(fc.constantFrom(...NAMES), fc.constantFrom(...NAMES)), { selector: ([a, b]) => `${a}${b}` })
  .map((pairs) => pairs.filter(([a, b]) => a !== b).map(([from, to]) => ({ ...DEFAULT_LINKS[0]!, from, to })));
const anyPriorities = fc
  .shuffledSubarray([1, 2, 3, 4, 5], { minLength: 5 })
  .map((order) => Object.fromEntries(NAMES.map((name, i) => [name, order[i]!])));

describe("sources of a region", () => {
  it("never lead in a circle, whatever the links, the priorities and the active region", () => {
    fc.assert(
      fc.property(
        anyLinks,
        anyPriorities,
        fc.constantFrom(...NAMES),
        fc.infiniteStream(fc.nat()),
        (links, priorities, active, picks) => {
          // Every region takes any one of its sources; from each the way must end.
          const choice = new Map(
            NAMES.map((name) => {
              const sources = sourcesOf(links, priorities, name, active);
              return [name, sources[picks.next().value! % Math.max(1, sources.length)]];
            }),
          );
          for (const start of NAMES) {
            let at: string | undefined = start;
            for (let hops = 0; at !== undefined; hops++) {
              assert.ok(hops <= NAMES.length, `a circle from ${start}`);
              at = choice.get(at);
            }
          }
        },
      ),
      { numRuns: 2000 },
    );
  });

  it("begin with the active region, are linked, and are none of the active region itself", () => {
    fc.assert(
      fc.property(
        anyLinks,
        anyPriorities,
        fc.constantFrom(...NAMES),
        fc.constantFrom(...NAMES),
        (links, priorities, target, active) => {
          const sources = sourcesOf(links, priorities, target, active);
          if (target === active) assert.deepEqual(sources, []);
          assert.ok(!sources.includes(target));
          assert.equal(new Set(sources).size, sources.length);
          for (const source of sources) assert.ok(linkBetween(links, source, target));
          if (target !== active && linkBetween(links, active, target)) assert.equal(sources[0], active);
        },
      ),
    );
  });

  it("are those of the design", () => {
    const priorities = { beijing: 1, shanghai: 2, shenzhen: 3 };
    const of = (target: string, active: string) => sourcesOf(DEFAULT_LINKS, priorities, target, active);
    assert.deepEqual(of("shenzhen", "beijing"), ["beijing", "shanghai"]);
    assert.deepEqual(of("shanghai", "beijing"), ["beijing"]);
    assert.deepEqual(of("beijing", "shanghai"), ["shanghai"]);
    assert.deepEqual(of("shenzhen", "shanghai"), ["shanghai", "beijing"]);
  });
});

describe("positions in the WAL", () => {
  it("are read as they are written", () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }), (position) => {
        assert.equal(parseLsn(formatLsn(position)), position);
        assert.equal(parseLsn(String(position)), position);
      }),
    );
    assert.equal(parseLsn("16/B374D848"), 0x16b374d848n);
    assert.equal(formatLsn(0x3000060n), "0/3000060");
    assert.equal(bytesBehind("1/0", "0/FFFFFFF0"), 16);
    assert.equal(bytesBehind("0/1", "0/2"), 0);
    assert.ok(reached("10/0", "9/FFFFFFFF"));
    for (const bad of ["", "x", "1/", "-1", "1/2/3"]) assert.throws(() => parseLsn(bad), RangeError);
  });
});

describe("lag", () => {
  const QUIET = 3000;

  it("is never under the true one, and over it by one pause between samples at most", () => {
    fc.assert(
      fc.property(
        // Bytes written in each second, and seconds by which the copy is behind.
        fc.array(fc.integer({ min: 1, max: 1000 }), { minLength: 5, maxLength: 100 }),
        fc.integer({ min: 0, max: 60 }),
        fc.integer({ min: 1, max: 3 }),
        fc.integer({ min: -1e9, max: 1e9 }),
        (writes, behind, pause, skew) => {
          const positions = [0];
          for (const bytes of writes) positions.push(positions.at(-1)! + bytes);
          const end = positions.length - 1;
          const replayedAt = Math.max(0, end - behind);
          let track = newTrack("a");
          let newest = 0;
          // The source's clock is off by `skew`: nothing may depend on it.
          for (let second = 0; second <= end; second += pause) {
            const at = 1e12 + skew + second * 1000;
            track = addSample(track, { at, lsn: formatLsn(BigInt(positions[second]!)) }, second * 1000);
            newest = second;
          }
          const lag = lagSeconds(track, formatLsn(BigInt(positions[replayedAt]!)), newest * 1000, QUIET)!;
          const truth = Math.max(0, newest - replayedAt);
          assert.ok(lag >= truth && lag <= truth + pause, `${lag} for ${truth}`);
        },
      ),
    );
  });

  it("is 0 for a copy that has everything, grows while the source is silent, and is not known before it spoke", () => {
    let track = newTrack("a");
    assert.equal(lagSeconds(track, "0/10", 0, QUIET), undefined);
    track = addSample(track, { at: 5000, lsn: "0/10" }, 100);
    assert.equal(lagSeconds(track, "0/10", 200, QUIET), 0);
    assert.equal(lagSeconds(track, "0/10", 60_100, QUIET), 60);
    assert.equal(lagSeconds(track, undefined, 200, QUIET), undefined);
  });

  it("does not count time in which nothing was written", () => {
    let track = newTrack("a");
    for (let i = 0; i <= 600; i++) track = addSample(track, { at: i * 1000, lsn: "0/10" }, i * 1000);
    track = addSample(track, { at: 601_000, lsn: "0/20" }, 601_000);
    assert.equal(track.samples.length, 2);
    assert.equal(lagSeconds(track, "0/10", 601_000, QUIET), 1);
  });

  it("begins anew when the source's clock or position goes back", () => {
    const track = addSample(newTrack("a"), { at: 5000, lsn: "0/50" }, 0);
    assert.equal(addSample(track, { at: 4000, lsn: "0/60" }, 0).samples.length, 1);
    assert.equal(addSample(track, { at: 6000, lsn: "0/40" }, 0).samples.length, 1);
  });

  it("keeps few samples, and long lags measurable", () => {
    let track = newTrack("a");
    for (let i = 0; i < 5000; i++) track = addSample(track, { at: i * 1000, lsn: formatLsn(BigInt(i)) }, i * 1000);
    assert.ok(track.samples.length <= 601);
    const lag = lagSeconds(track, formatLsn(3000n), 4_999_000, QUIET)!;
    assert.ok(lag >= 1999 && lag < 2100, String(lag));
  });
});

describe("the link of the database", () => {
  const link = (changes: Partial<Parameters<typeof postgresLink>[0]> = {}) =>
    postgresLink({
      region: "b",
      track: addSample(newTrack("a"), { at: 1000, lsn: "0/100" }, 0),
      own: database({ state: "standby", lsn: "0/100", streaming: true, source: "a" }),
      errors: NO_ERRORS,
      now: 500,
      quietMillis: 3000,
      maxLagSeconds: 30,
      maxErrors: 10,
      ...changes,
    });

  it("is healthy while it streams, and within the bounds of §5.4.2", () => {
    assert.deepEqual(
      [link().healthy, link().lagSeconds, link().lagBytes, link().detail],
      [true, 0, 0, "streams from a"],
    );
    const away = link({ now: 31_000 });
    assert.equal(away.healthy, false);
    assert.match(away.detail, /31\.0 s behind, over 30 s/);
    assert.equal(link({ own: database({ state: "standby", lsn: "0/80", streaming: false }) }).healthy, false);
    assert.equal(link({ own: database({ state: "standby", lsn: "0/80", streaming: true }) }).lagBytes, 128);
  });

  it("is unhealthy over ten errors in an hour, and well again an hour later", () => {
    let errors = NO_ERRORS;
    for (let i = 0; i < 11; i++) errors = addError(errors, `error ${i}`, i);
    assert.equal(link({ errors }).healthy, false);
    assert.deepEqual(errorsOf(errors, 20), { count: 11, last: "error 10" });
    assert.deepEqual(errorsOf(errors, 3_600_100), { count: 0, last: undefined });
  });
});

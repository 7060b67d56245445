import assert from "node:assert/strict";
import fc from "fast-check";
import {
  compareDigests,
  CONFIRMATIONS,
  sampleRange,
  suspect,
  type RowDigest,
  type Suspicion,
} from "../../../sidecar/core/region-digest.ts";

type Change = { readonly at: number; readonly content: number | undefined };
const anyChange: fc.Arbitrary<Change> = fc.record({
  at: fc.integer({ min: 0, max: 9 }),
  content: fc.option(fc.integer({ min: 0, max: 3 }), { nil: undefined }),
});

/** A table's course: its rows after each change. A change makes a new writer, as in PostgreSQL. */
function course(changes: readonly Change[]): RowDigest[][] {
  const rows = new Map<number, RowDigest>();
  const states: RowDigest[][] = [[]];
  changes.forEach(({ at, content }, i) => {
    if (content === undefined) rows.delete(at);
    else rows.set(at, { place: `(0,${at})`, writer: String(i), hash: String(content) });
    states.push([...rows.values()]);
  });
  return states;
}

describe("comparing a copy with its source while both go on", () => {
  const changes = fc.array(anyChange, { minLength: 1, maxLength: 60, size: "max" });

  it("a true copy never differs in a row that is compared, whenever the three readings are made", () => {
    let compared = 0;
    fc.assert(
      fc.property(changes, fc.tuple(fc.nat(), fc.nat(), fc.nat()), (all, picks) => {
        const states = course(all);
        // The copy is read after it has replayed the first reading, and cannot be ahead of the second.
        const [a, b, c] = picks.map((pick) => pick % states.length).sort((x, y) => x - y) as [number, number, number];
        const result = compareDigests(states[a]!, states[b]!, states[c]!);
        compared += result.compared;
        // Left over: rows that came and went between the source's readings, which the next look no longer shows.
        for (const place of result.differing) {
          assert.ok(!states[a]!.some((row) => row.place === place) && !states[c]!.some((row) => row.place === place));
        }
      }),
      { numRuns: 2000 },
    );
    assert.ok(compared > 1000);
  });

  it("a row that is changed, lost or added in the copy alone is found, unless it changed at the source meanwhile", () => {
    fc.assert(
      fc.property(
        changes,
        fc.nat(),
        fc.integer({ min: 0, max: 9 }),
        fc.constantFrom("change", "lose", "add"),
        (all, pick, at, how) => {
          const states = course(all);
          const state = states[pick % states.length]!;
          const place = `(0,${at})`;
          const there = state.some((row) => row.place === place);
          const copy = state.filter((row) => row.place !== place || how === "add");
          if (how === "change" && there) copy.push({ ...state.find((row) => row.place === place)!, hash: "corrupt" });
          if (how === "add" && !there) copy.push({ place, writer: "0", hash: "0" });
          const expected = how === "add" ? !there : there;
          assert.deepEqual(compareDigests(state, copy, state).differing, expected ? [place] : []);
        },
      ),
    );
  });

  it("is reported only when the same row differs time after time", () => {
    const range = { from: 0, to: 15 };
    let suspicion: Suspicion | undefined;
    for (const places of [["(0,1)", "(0,2)"], ["(0,2)", "(0,3)"], ["(0,2)"]])
      suspicion = suspect(suspicion, "t", range, places);
    assert.deepEqual([suspicion?.seen, suspicion?.places], [CONFIRMATIONS, ["(0,2)"]]);
    assert.equal(suspect(suspicion, "t", range, []), undefined);
    assert.equal(suspect(suspicion, "t", range, ["(9,9)"])?.seen, 1);
  });

  it("samples stay in the table, and reach every page of it", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 100_000 }),
        fc.integer({ min: 1, max: 64 }),
        fc.double({ min: 0, max: 0.9999, noNaN: true }),
        (pages, span, random) => {
          const { from, to } = sampleRange(pages, span, random);
          assert.ok(from >= 0 && to >= from && to - from <= Math.max(span, pages));
          if (pages > span) assert.ok(to - from < span);
        },
      ),
    );
    const reachedPages = new Set<number>();
    for (let i = 0; i < 1000; i++) {
      const { from, to } = sampleRange(100, 16, i / 1000);
      for (let page = from; page <= to; page++) reachedPages.add(page);
    }
    for (let page = 0; page < 100; page++) assert.ok(reachedPages.has(page), String(page));
  });
});

import assert from "node:assert/strict";
import fc from "fast-check";
import { lags, parseStamps, percentile } from "../../../scripts/bench/replication/figures.ts";

describe("figures of the replication bench", () => {
  it("takes the first reading that shows a row or a later one", () => {
    const written = [
      { id: 1, at: 10 },
      { id: 2, at: 20 },
      { id: 3, at: 30 },
    ];
    const seen = [
      { id: 2, at: 25 },
      { id: 3, at: 31 },
    ];
    assert.deepEqual(lags(written, seen), [15, 5, 1]);
  });

  it("leaves out what was never seen, and is never negative", () => {
    assert.deepEqual(lags([{ id: 1, at: 10 }], []), []);
    assert.deepEqual(lags([{ id: 1, at: 10 }], [{ id: 1, at: 9.5 }]), [0]);
  });

  it("gives a percentile that its share of the figures does not exceed", () => {
    fc.assert(
      fc.property(
        fc.array(fc.double({ min: 0, max: 1e6, noNaN: true }), { minLength: 1 }),
        fc.double({ min: 0.01, max: 1, noNaN: true }),
        (figures, share) => {
          const limit = percentile(figures, share);
          assert.ok(figures.includes(limit));
          assert.ok(figures.filter((figure) => figure <= limit).length >= share * figures.length - 1e-6);
        },
      ),
    );
  });

  it("reads what the programs print", () => {
    assert.deepEqual(parseStamps('{"id":1,"at":2.5}\n\n'), [{ id: 1, at: 2.5 }]);
  });
});

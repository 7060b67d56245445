import assert from "node:assert/strict";
import fc from "fast-check";
import { decideSource, GONE_LOOKS, type SourceSight, type SourceState } from "../../sidecar/core/dns-source.ts";

const NOTHING: SourceState = { given: undefined, refusals: 0, gone: 0 };
const UP: SourceSight = { fingerprint: "a", admitted: true, coredns: "up", refusals: 0 };
const given = (fingerprint: string, attempt = 0): SourceState => ({ ...NOTHING, given: { fingerprint, attempt } });

const sights: fc.Arbitrary<SourceSight> = fc.record({
  fingerprint: fc.constantFrom("a", "b"),
  admitted: fc.boolean(),
  coredns: fc.constantFrom("up", "gone", "unknown"),
  refusals: fc.option(fc.nat(3), { nil: undefined }),
});

describe("CoreDNS' way to the witness", () => {
  it("is given when the witness lets it in, once, and anew when password or certificate are others", () => {
    assert.equal(decideSource(NOTHING, { ...UP, admitted: false }).action, "keep");
    const first = decideSource(NOTHING, UP);
    assert.deepEqual([first.action, first.next.given], ["give", { fingerprint: "a", attempt: 0 }]);
    assert.equal(decideSource(first.next, UP).action, "keep");
    const second = decideSource(first.next, { ...UP, fingerprint: "b" });
    assert.deepEqual([second.action, second.next.given], ["give", { fingerprint: "b", attempt: 1 }]);
  });

  it("is given again, under another name, when CoreDNS refused it", () => {
    const { action, next } = decideSource(given("a"), { ...UP, refusals: 1 });
    assert.deepEqual([action, next.given], ["give", { fingerprint: "a", attempt: 1 }]);
    assert.equal(decideSource(next, { ...UP, refusals: 1 }).action, "keep");
    // A restarted CoreDNS counts from nothing.
    assert.equal(decideSource(next, { ...UP, refusals: 0 }).action, "keep");
  });

  it("is taken from one that does not come up while the witness lets nobody in, and from no other", () => {
    let state = given("a");
    const away: SourceSight = { ...UP, admitted: false, coredns: "gone", refusals: undefined };
    for (let look = 1; look < GONE_LOOKS; look++) {
      const { action, next } = decideSource(state, away);
      assert.equal(action, "keep");
      state = next;
    }
    assert.equal(decideSource(state, { ...away, coredns: "up" }).next.gone, 0);
    assert.equal(decideSource(state, away).action, "take");
    assert.equal(decideSource({ ...given("a"), gone: GONE_LOOKS }, { ...away, admitted: true }).action, "keep");
  });

  it("is never taken from a server that runs, nor given where the witness would refuse it", () => {
    fc.assert(
      fc.property(fc.array(sights, { maxLength: 20 }), (all) => {
        let state = NOTHING;
        let goneInRow = 0;
        for (const sight of all) {
          goneInRow = sight.coredns === "gone" ? goneInRow + 1 : sight.coredns === "up" ? 0 : goneInRow;
          const { action, next } = decideSource(state, sight);
          if (action === "give") {
            assert.ok(sight.admitted);
            assert.notDeepEqual(next.given, state.given, "the same text would not be read again");
          }
          if (action === "take") assert.ok(!sight.admitted && goneInRow >= GONE_LOOKS && state.given !== undefined);
          if (sight.admitted) assert.equal(next.given?.fingerprint, sight.fingerprint);
          state = next;
        }
      }),
    );
  });
});

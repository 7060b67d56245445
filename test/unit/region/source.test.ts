import assert from "node:assert/strict";
import fc from "fast-check";
import { decideSource, NO_SOURCE_STATE, unusable, type SourceState } from "../../../sidecar/core/region-source.ts";
import type { DatabaseStatus } from "../../../sidecar/core/region-status.ts";
import { database } from "../../support/region.ts";

const LOST = 15_000;
const ORDER = ["beijing", "shanghai"];
const PRIMARY = database({ lsn: "0/2000" });
const CASCADE = database({ state: "standby", streaming: true, source: "beijing", lsn: "0/1000" });

/** A standby region over time: one look a second, and Patroni takes every order. */
class Standby {
  state: SourceState = NO_SOURCE_STATE;
  current: string | undefined = "beijing";
  now = 0;
  readonly switches: { at: number; to: string; cause: string }[] = [];
  own = database({ state: "standby", lsn: "0/1000" });

  look(others: Record<string, DatabaseStatus | undefined>, streaming: boolean, order = ORDER): void {
    this.now += 1000;
    const own = { ...this.own, streaming, source: this.current };
    const input = { region: "shenzhen", now: this.now, order, current: this.current, own, others, lostMillis: LOST };
    const { state, switchTo, cause } = decideSource(this.state, input);
    this.state = state;
    if (switchTo === undefined) return;
    assert.notEqual(switchTo, this.current, "a switch goes elsewhere");
    assert.equal(unusable("shenzhen", own, others[switchTo]), undefined, "only to what can be streamed from");
    this.switches.push({ at: this.now, to: switchTo, cause });
    this.current = switchTo;
  }

  looks(seconds: number, others: Record<string, DatabaseStatus | undefined>, streaming: boolean): void {
    for (let i = 0; i < seconds; i++) this.look(others, streaming);
  }
}

describe("where a standby cluster streams from", () => {
  it("the next source takes over after the first has been away long enough, and gives way when that is back to stay", () => {
    const standby = new Standby();
    standby.looks(10, { beijing: PRIMARY, shanghai: CASCADE }, true);
    assert.equal(standby.switches.length, 0);
    standby.looks(14, { shanghai: CASCADE }, false);
    assert.equal(standby.switches.length, 0);
    standby.looks(2, { shanghai: CASCADE }, false);
    assert.deepEqual(
      standby.switches.map(({ to }) => to),
      ["shanghai"],
    );
    assert.match(standby.switches.at(0)?.cause ?? "", /beijing is away for 15000 ms: its controller does not answer/);
    standby.looks(60, { shanghai: CASCADE }, true);
    standby.looks(29, { beijing: PRIMARY, shanghai: CASCADE }, true);
    assert.equal(standby.switches.length, 1);
    standby.looks(2, { beijing: PRIMARY, shanghai: CASCADE }, true);
    assert.deepEqual(
      standby.switches.map(({ to }) => to),
      ["shanghai", "beijing"],
    );
  });

  it("a stream that is up is never left because a controller is away, nor a lost one for nothing better", () => {
    const standby = new Standby();
    standby.looks(100, { shanghai: CASCADE }, true);
    standby.looks(100, {}, false);
    standby.looks(100, { shanghai: { ...CASCADE, streaming: false } }, false);
    assert.equal(standby.switches.length, 0);
  });

  it("a source that comes and goes is not gone back to", () => {
    const standby = new Standby();
    standby.current = "shanghai";
    for (let i = 0; i < 20; i++) {
      standby.looks(20, { beijing: PRIMARY, shanghai: CASCADE }, true);
      standby.looks(1, { shanghai: CASCADE }, true);
    }
    assert.equal(standby.switches.length, 0);
  });

  it("when the active region is another one, its region is streamed from at once", () => {
    const standby = new Standby();
    standby.looks(5, { beijing: PRIMARY, shanghai: CASCADE }, true);
    standby.look({ shanghai: database({ timeline: 2, lsn: "0/3000" }) }, false, ["shanghai"]);
    assert.deepEqual(
      standby.switches.map(({ to }) => to),
      ["shanghai"],
    );
  });

  it("refuses what cannot be followed", () => {
    const own = database({ state: "standby", lsn: "0/1000", timeline: 3 });
    const other = database({ timeline: 3 });
    const why = (changes: Partial<DatabaseStatus>) => unusable("a", own, { ...other, ...changes });
    assert.equal(why({}), undefined);
    assert.match(unusable("a", own, undefined)!, /does not answer/);
    assert.match(why({ state: "starting" })!, /starting/);
    assert.match(why({ state: "standby" })!, /does not stream itself/);
    assert.match(why({ state: "standby", streaming: true, source: "a" })!, /streams from here/);
    assert.match(why({ systemId: "7" })!, /another one/);
    assert.match(why({ timeline: 2 })!, /older/);
    assert.match(why({ state: "standby", streaming: true, lsn: "0/FFF" })!, /behind/);
    assert.equal(why({ state: "standby", streaming: true, lsn: "0/1000" }), undefined);
  });

  it("switches only while the database is a standby, only to what is usable, and at most once in the time-out", () => {
    const status: fc.Arbitrary<DatabaseStatus | undefined> = fc.option(
      fc
        .record({
          state: fc.constantFrom("primary" as const, "standby" as const, "starting" as const),
          streaming: fc.boolean(),
          lsn: fc.constantFrom("0/1000", "0/900"),
          timeline: fc.constantFrom(1, 2),
        })
        .map((changes) => database(changes)),
      { nil: undefined },
    );
    let switches = 0;
    fc.assert(
      fc.property(
        fc.array(
          fc.record({
            beijing: status,
            shanghai: status,
            streaming: fc.boolean(),
            times: fc.integer({ min: 1, max: 40 }),
          }),
          { maxLength: 20, size: "max" },
        ),
        (phases) => {
          const standby = new Standby();
          for (const { times, streaming, ...others } of phases) standby.looks(times, others, streaming);
          switches += standby.switches.length;
          standby.switches.forEach(({ at }, i) => {
            const before = standby.switches[i - 1];
            if (before) assert.ok(at - before.at >= LOST, "no to and fro");
          });
        },
      ),
      { numRuns: 1000 },
    );
    assert.ok(switches > 500, `${switches} switches`);
    const primary = new Standby();
    primary.own = database({ state: "primary" });
    primary.looks(100, { shanghai: CASCADE }, false);
    assert.deepEqual(primary.switches, []);
  });
});

import assert from "node:assert/strict";
import fc from "fast-check";
import { concerns } from "../../../sidecar/core/session-receiver.ts";
import { CLOCK_MARGIN_MILLIS } from "../../../sidecar/core/session-log.ts";
import { PREFIXES, Receiver, Region } from "./model.ts";

const key = fc.constantFrom(
  ...["a", "b", "c", "d", "e"].flatMap((id) => [
    `session:{1}${id}`,
    `session:{2}${id}`,
    `session:${id}`,
    `cache:${id}`,
  ]),
);
const region = fc.constantFrom("a" as const, "b" as const);
const controller = fc.integer({ min: 0, max: 1 });
const event = fc.oneof(
  { weight: 8, arbitrary: fc.record({ kind: fc.constant("write" as const), region, key }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("delete" as const), region, key }) },
  // What the receiver has of its own: kept from a time when it was active, or the entry of a cache.
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("own" as const), key }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("hear" as const), region, controller, count: fc.nat(5) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("lose" as const), region, controller }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("begin" as const), region, controller }) },
  {
    weight: 8,
    arbitrary: fc.record({ kind: fc.constant("ask" as const), controller, fitting: fc.integer({ min: 1, max: 9 }) }),
  },
  { weight: 8, arbitrary: fc.record({ kind: fc.constant("apply" as const) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("killed" as const), part: fc.nat(6) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("source" as const), region }) },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant("failover" as const), lost: fc.array(key, { maxLength: 3 }) }),
  },
  {
    weight: 4,
    arbitrary: fc.record({ kind: fc.constant("wait" as const), millis: fc.integer({ min: 1, max: 9000 }) }),
  },
);

describe("copying of sessions between regions", () => {
  it("ends with the source's state once all is quiet, whatever happened, in batches that are never too big", () => {
    let rounds = 0;
    fc.assert(
      fc.property(
        fc.array(event, { maxLength: 120 }),
        fc.record({ limit: fc.integer({ min: 1, max: 6 }), maxKeys: fc.integer({ min: 1, max: 12 }) }),
        fc.array(fc.integer({ min: -1000, max: 1000 }), { minLength: 4, maxLength: 4 }),
        (events, { limit, maxKeys }, skews) => {
          let time = 1_000_000;
          let values = 0;
          const regions = {
            a: new Region("a", maxKeys, skews.slice(0, 2)),
            b: new Region("b", maxKeys, skews.slice(2)),
          };
          const receiver = new Receiver(limit);
          const source = () => regions[receiver.source as "a" | "b"];
          for (const each of events) {
            time++;
            switch (each.kind) {
              case "write":
                regions[each.region].write(each.key, `value ${values++}`, time);
                break;
              case "delete":
                regions[each.region].write(each.key, undefined, time);
                break;
              case "own":
                // Sessions of its own it can only have from before a change of epoch.
                if (!concerns(each.key, PREFIXES.invalidate)) receiver.epoch++;
                receiver.data.set(each.key, `own ${values++}`);
                break;
              case "hear":
                regions[each.region].controllers[each.controller]!.hear(each.count, time);
                break;
              case "lose":
                regions[each.region].controllers[each.controller]!.lose();
                break;
              case "begin":
                regions[each.region].controllers[each.controller]!.begin(time);
                break;
              case "ask":
                receiver.ask(source(), each.controller, time, each.fitting);
                break;
              case "apply":
                receiver.apply(undefined);
                break;
              case "killed":
                receiver.apply(each.part);
                break;
              case "source":
                if (receiver.source !== each.region) receiver.epoch++;
                receiver.source = each.region;
                break;
              case "failover":
                receiver.local += "x";
                for (const lost of each.lost) receiver.data.delete(lost);
                break;
              case "wait":
                time += each.millis;
            }
          }
          // Quiet: everybody follows, and hears all there is to hear.
          for (const each of source().controllers) each.begin(time);
          // For so long, of two controllers that began at the same time neither goes on where the other one was.
          time += 2 * CLOCK_MARGIN_MILLIS;
          for (const each of source().controllers) each.hear(Infinity, time);
          let left = 500;
          for (let i = 0, more = true; more; i = 1 - i, rounds++) {
            assert.ok(left-- > 0, "it never comes to an end");
            receiver.ask(source(), i, ++time, 9);
            more = receiver.apply(undefined);
          }
          const expected = [...source().data].filter(([name]) => concerns(name, PREFIXES.copy));
          const actual = [...receiver.data].filter(([name]) => concerns(name, PREFIXES.copy));
          assert.deepEqual(new Map(actual), new Map(expected));
          assert.ok(receiver.biggest <= limit);
        },
      ),
      { numRuns: 2000 },
    );
    assert.ok(rounds > 2000);
  });

  it("drops the entry of a cache whose change it may have missed", () => {
    fc.assert(
      fc.property(fc.boolean(), fc.boolean(), fc.boolean(), (lost, otherController, failover) => {
        const source = new Region("a", 10, [0, 0]);
        const receiver = new Receiver(10);
        const pull = (controller: number) => {
          for (let more = true; more;) {
            receiver.ask(source, controller, 200_000, 9);
            more = receiver.apply(undefined);
          }
        };
        for (const each of source.controllers) each.begin(100_000);
        pull(0);
        receiver.data.set("cache:x", "old");
        pull(0);
        assert.equal(receiver.data.get("cache:x"), "old", "what nobody changed stays");
        if (lost) source.controllers.forEach((each) => each.lose());
        source.write("cache:x", "new", 150_000);
        for (const each of source.controllers) {
          each.begin(150_001);
          each.hear(Infinity, 150_002);
        }
        if (failover) receiver.local = "y";
        pull(otherController ? 1 : 0);
        assert.equal(receiver.data.get("cache:x"), undefined);
      }),
    );
  });
});

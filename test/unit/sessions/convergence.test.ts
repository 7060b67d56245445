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
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant("hear" as const),
      region,
      controller,
      count: fc.constantFrom(1, 2, 3, 99),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("lose" as const), region, controller }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("begin" as const), region, controller }) },
  {
    weight: 8,
    arbitrary: fc.record({ kind: fc.constant("ask" as const), controller, fitting: fc.integer({ min: 1, max: 9 }) }),
  },
  { weight: 8, arbitrary: fc.record({ kind: fc.constant("apply" as const) }) },
  {
    weight: 6,
    arbitrary: fc.record({ kind: fc.constant("pull" as const), controller, rounds: fc.integer({ min: 1, max: 30 }) }),
  },
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
        fc.record({ limit: fc.integer({ min: 1, max: 6 }), maxKeys: fc.constantFrom(1, 3, 6, 12, 40) }),
        fc.array(fc.integer({ min: -1000, max: 1000 }), { minLength: 4, maxLength: 4 }),
        fc.constantFrom(1, 2 * CLOCK_MARGIN_MILLIS),
        (events, { limit, maxKeys }, skews, begun) => {
          let time = 1_000_000;
          let values = 0;
          const regions = {
            a: new Region("a", maxKeys, skews.slice(0, 2)),
            b: new Region("b", maxKeys, skews.slice(2)),
          };
          const receiver = new Receiver(limit);
          const source = () => regions[receiver.source as "a" | "b"];
          for (const each of [...regions.a.controllers, ...regions.b.controllers]) each.begin(time);
          time += begun;
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
              case "pull":
                for (let i = 0, more = true; more && i < each.rounds; i++) {
                  receiver.ask(source(), each.controller, ++time, 9);
                  more = receiver.apply(undefined);
                }
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
      { numRuns: 1500 },
    );
    assert.ok(rounds > 2000);
  });

  it("loses nothing when it goes on at another controller, whatever each has heard by then", () => {
    const quick = fc.oneof(
      { weight: 6, arbitrary: fc.record({ kind: fc.constant("write" as const), key }) },
      {
        weight: 4,
        arbitrary: fc.record({ kind: fc.constant("hear" as const), controller, count: fc.constantFrom(1, 2, 99) }),
      },
      {
        weight: 4,
        arbitrary: fc.record({ kind: fc.constant("pull" as const), fitting: fc.integer({ min: 1, max: 3 }) }),
      },
      {
        weight: 3,
        arbitrary: fc.record({ kind: fc.constant("wait" as const), millis: fc.constantFrom(1, 500, 4000, 9000) }),
      },
    );
    let resumed = 0;
    fc.assert(
      fc.property(
        fc.array(quick, { maxLength: 40 }),
        // Most tellingly at the end: one has heard of changes long before the other, and is left in their middle.
        fc.record({
          keys: fc.array(key, { maxLength: 4 }),
          first: controller,
          wait: fc.constantFrom(1, 4000, 9000),
          fitting: fc.integer({ min: 1, max: 3 }),
        }),
        fc.constantFrom(3, 6, 99),
        // Clocks and looks at the masters together are apart by less than the margin.
        fc.integer({ min: -4000, max: 4000 }),
        (events, end, maxKeys, skew) => {
          let time = 1_000_000;
          let values = 0;
          const source = new Region("a", maxKeys, [0, skew]);
          const receiver = new Receiver(3);
          const pull = (at: number, fitting: number, rounds: number) => {
            for (let i = 0, more = true; more && i < rounds; i++) {
              receiver.ask(source, at, ++time, fitting);
              more = receiver.apply(undefined);
            }
          };
          for (const each of source.controllers) each.begin(time);
          time += 20_000;
          for (const each of source.controllers) each.hear(99, time);
          pull(0, 9, 99);
          for (const each of events) {
            time++;
            if (each.kind === "write") source.write(each.key, `value ${values++}`, time);
            else if (each.kind === "hear") source.controllers[each.controller]!.hear(each.count, time);
            else if (each.kind === "pull") pull(0, each.fitting, 1);
            else time += each.millis;
          }
          for (const each of end.keys) source.write(each, `value ${values++}`, ++time);
          source.controllers[end.first]!.hear(99, ++time);
          source.controllers[1 - end.first]!.hear(99, (time += end.wait));
          pull(0, end.fitting, 1);
          source.controllers[1]!.hear(Infinity, ++time);
          receiver.ask(source, 1, ++time, 9);
          receiver.apply(undefined);
          if (receiver.cursor?.snapshot === undefined) resumed++;
          pull(1, 9, 999);
          const expected = [...source.data].filter(([name]) => concerns(name, PREFIXES.copy));
          assert.deepEqual(new Map(receiver.data), new Map(expected));
        },
      ),
      { numRuns: 1500 },
    );
    assert.ok(resumed > 500, `${resumed}`);
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

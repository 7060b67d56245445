import assert from "node:assert/strict";
import fc from "fast-check";
import { SLOTS, type Peer, type SlotRange } from "../../../sidecar/core/redis-nodes.ts";
import { inRanges, keySlot, slotMap } from "../../../sidecar/core/redis-slots.ts";
import { LinkGauge } from "../../../sidecar/core/session-gauge.ts";
import { ChangeLog, CLOCK_MARGIN_MILLIS } from "../../../sidecar/core/session-log.ts";
import {
  changesQuery,
  parseQuery,
  pathOf,
  progressQuery,
  snapshotQuery,
} from "../../../sidecar/core/session-protocol.ts";
import { question, step } from "../../../sidecar/core/session-receiver.ts";
import { compare } from "../../../sidecar/region/sessions/check.ts";

describe("slots of Redis Cluster", () => {
  it("are the specification's", () => {
    assert.equal(keySlot("123456789"), 0x31c3);
    assert.equal(keySlot("foo"), 12182);
    assert.equal(keySlot("{user1000}.following"), keySlot("user1000"));
    assert.equal(keySlot("foo{}{bar}"), keySlot("foo{}{bar}x".slice(0, -1)));
    assert.notEqual(keySlot("foo{}{bar}"), keySlot("bar"));
    assert.equal(keySlot("foo{{bar}}zap"), keySlot("{bar"));
    assert.equal(keySlot("foo{bar}{zap}"), keySlot("bar"));
  });

  const peer = (id: string, slots: SlotRange[], changes: Partial<Peer> = {}): Peer => ({
    id,
    address: { ip: "10.0.0.1", port: 6379, busPort: 16379 },
    hostname: `${id}.redis`,
    myself: false,
    role: "master",
    masterId: undefined,
    failed: false,
    suspect: false,
    handshake: false,
    noAddress: false,
    connected: true,
    configEpoch: 1,
    slots,
    ...changes,
  });

  it("belong to the master with the highest epoch, whichever view comes first", () => {
    const range = fc
      .tuple(fc.nat(SLOTS - 1), fc.nat(SLOTS - 1))
      .map(([a, b]): SlotRange => [Math.min(a, b), Math.max(a, b)]);
    const claim = fc.record({ range, epoch: fc.integer({ min: 1, max: 100 }) });
    fc.assert(
      fc.property(
        fc.uniqueArray(claim, { maxLength: 5, selector: (c) => c.epoch }),
        fc.nat(SLOTS - 1),
        (claims, slot) => {
          const peers = claims.map(({ range, epoch }) => peer(`m${epoch}`, [range], { configEpoch: epoch }));
          const map = slotMap(peers.map((each) => [each]));
          const best = claims.filter(({ range }) => inRanges([range], slot)).sort((a, b) => b.epoch - a.epoch)[0];
          assert.equal(map.ownerOf(slot)?.id, best && `m${best.epoch}`);
          assert.equal(inRanges(map.dark, slot), best === undefined);
          assert.equal(map.signature, slotMap(peers.toReversed().map((each) => [each])).signature);
        },
      ),
      { numRuns: 200 },
    );
  });

  it("are dark without a master, or when that is given up, and signed anew when they come back to a former one", () => {
    const a = peer("a", [[0, 8191]]);
    const b = peer("b", [[8192, SLOTS - 1]], { failed: true });
    const map = slotMap([[a, b]]);
    assert.deepEqual(map.dark, [[8192, SLOTS - 1]]);
    assert.equal(map.ownerOf(9000)?.failed, true);
    assert.notEqual(slotMap([[{ ...a, configEpoch: 3 }, b]]).signature, map.signature);
    assert.equal(slotMap([[{ ...a, role: "replica", masterId: "b", slots: [] }, b]]).ownerOf(0), undefined);
  });
});

describe("log of changed keys", () => {
  const follow = (log: ChangeLog, count: number, now = 1000) => {
    for (let i = 0; i < count; i++) log.record(`k${i}`, now);
  };

  it("lists each key once, by its latest change", () => {
    const log = new ChangeLog(10);
    log.begin("i", 0);
    for (const key of ["a", "b", "a", "c", "b"]) log.record(key, 5);
    const batch = log.after(0, 10, 10);
    assert.deepEqual(batch.keys, ["a", "c", "b"]);
    assert.deepEqual([batch.pendingAfter(1), batch.oldestAfter(1), batch.oldestAfter(3)], [2, 5, undefined]);
  });

  it("is bounded however much changes, and says so to who is behind", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 20 }), fc.array(fc.nat(30), { maxLength: 300 }), (max, keys) => {
        const log = new ChangeLog(max);
        log.begin("i", 0);
        const seen = new Set<number>();
        for (const key of keys) {
          log.record(String(key), 1);
          seen.add(key);
          assert.ok(log.size <= max);
        }
        const start = log.resume({ marks: [{ instance: "i", next: 0 }], asOf: 0 });
        if (seen.size <= max) assert.equal(start, 0);
        else assert.equal(start, undefined);
        const position = log.head();
        assert.equal(log.resume({ marks: [position], asOf: position.asOf }), position.next);
      }),
    );
  });

  it("knows nothing of a place in the future, nor of another life, nor of anything before it began", () => {
    const log = new ChangeLog(10);
    assert.equal(log.resume({ marks: [{ instance: "i", next: 0 }], asOf: 0 }), undefined);
    log.begin("i", 100_000);
    follow(log, 3);
    assert.equal(log.resume({ marks: [{ instance: "i", next: 4 }], asOf: 0 }), undefined);
    assert.equal(log.resume({ marks: [{ instance: "j", next: 1 }], asOf: 100_000 }), undefined);
    log.end();
    assert.equal(log.resume({ marks: [{ instance: "i", next: 1 }], asOf: 0 }), undefined);
    log.begin("j", 100_000);
    assert.equal(log.resume({ marks: [{ instance: "i", next: 1 }], asOf: 0 }), undefined);
  });

  it("takes up a place in another log by time, with a margin", () => {
    const log = new ChangeLog(10);
    log.begin("i", 100_000);
    log.record("early", 110_000);
    log.record("late", 120_000);
    log.confirm(130_000);
    const other = (asOf: number) => log.resume({ marks: [{ instance: "j", next: 77 }], asOf });
    assert.equal(other(100_000 + CLOCK_MARGIN_MILLIS - 1), undefined);
    assert.equal(other(100_000 + CLOCK_MARGIN_MILLIS), 0);
    assert.equal(other(110_000 + CLOCK_MARGIN_MILLIS), 0);
    assert.equal(other(110_001 + CLOCK_MARGIN_MILLIS), 1);
    assert.equal(other(130_000), 2);
    assert.equal(other(130_001 + CLOCK_MARGIN_MILLIS), undefined);
  });
});

describe("questions and answers between regions", () => {
  const origin = { source: "beijing", epoch: 1, local: "x" };
  const cursor = { ...origin, progress: { marks: [{ instance: "i", next: 5 }], asOf: 7.9 } };

  it("reach the other side as they were meant, whatever bytes a key has", () => {
    const bytes = fc.uint8Array({ maxLength: 40 }).map((array) => Buffer.from(array).toString("latin1"));
    fc.assert(
      fc.property(bytes, fc.nat(SLOTS - 1), (key, slot) => {
        const { path } = question({ ...cursor, snapshot: { slot, after: key } }, 50);
        const query = parseQuery(snapshotQuery, new URL(path, "https://x").searchParams);
        assert.deepEqual(query, { at: cursor.progress.marks, asOf: 7, slot, key, limit: 50 });
      }),
    );
  });

  it("are refused with the field's name when they are none", () => {
    const bad = (query: string) => () => parseQuery(changesQuery, new URLSearchParams(query));
    assert.throws(bad("limit=0"), /^RangeError: limit: /);
    assert.throws(bad("limit=10001"), /^RangeError: limit: /);
    assert.throws(bad("at=i"), /^RangeError: at: /);
    assert.throws(bad("asOf=-1"), /^RangeError: asOf: /);
    assert.throws(bad("more=1"), /more/);
    assert.deepEqual(parseQuery(changesQuery, new URLSearchParams()), { asOf: 0, limit: 100 });
    assert.equal(
      pathOf("/p", { ...progressQuery({ marks: [{ instance: "a", next: 1 }], asOf: 2.5 }), key: undefined }),
      "/p?at=a_1&asOf=2",
    );
  });

  it("are not acted upon when they are too big, of the wrong kind, or do not go forward", () => {
    const position = { instance: "i", next: 9, asOf: 9 };
    const entries = ["a", "b", "c"].map((key) => ({ key, absent: true as const }));
    const changes = { ...position, entries, pending: 0 };
    assert.throws(() => step(cursor, question(cursor, 2), changes, origin, 2), /3 keys in a batch that was to have 2/);
    assert.throws(() => step(undefined, question(undefined, 9), changes, origin, 9), /without a position/);
    const page = { entries, to: { slot: 3 }, dark: [], pending: 0 };
    assert.throws(() => step(cursor, question(cursor, 9), page, origin, 9), /not the changes/);
    const walking = { ...cursor, snapshot: { slot: 3 } };
    assert.throws(() => step(walking, question(walking, 9), page, origin, 9), /does not go forward/);
    assert.throws(() => step(walking, question(walking, 9), changes, origin, 9), /not the part of a walk/);
  });
});

describe("gauge of a link", () => {
  const settings = { source: "a", target: "b", intervalMillis: 1000, maxLagSeconds: 30, maxErrors: 10 };
  const heard = { askedAt: 10_000, oldestMillis: undefined, restMillis: undefined, pending: 0, walking: false };

  it("has no lag while nothing is missing, and a growing one while the source is away", () => {
    const gauge = new LinkGauge(settings, 0);
    assert.equal(gauge.lagSeconds(5000), undefined);
    gauge.applied(heard, 0, 0);
    assert.deepEqual([gauge.lagSeconds(10_500), gauge.lagSeconds(11_000), gauge.lagSeconds(51_000)], [0, 0, 40]);
    assert.equal(gauge.status(51_000).healthy, false);
    assert.match(gauge.status(51_000).detail, /^40\.0 s behind, over 30 s/);
  });

  it("tells the age of the oldest change that is missing here, until it is applied", () => {
    const gauge = new LinkGauge(settings, 0);
    gauge.heard({ ...heard, oldestMillis: 4000, restMillis: 1000, pending: 5 });
    assert.equal(gauge.lagSeconds(12_000), 6);
    gauge.applied({ ...heard, oldestMillis: 4000, restMillis: 1000, pending: 5 }, 10, 0);
    assert.equal(gauge.lagSeconds(12_000), 3);
    assert.deepEqual([gauge.status(12_000).pendingKeys, gauge.status(12_000).batches], [5, 1]);
    assert.equal(gauge.caughtUpAt, undefined);
    gauge.applied({ ...heard, askedAt: 13_000 }, 5, 0);
    assert.deepEqual([gauge.lagSeconds(13_500), gauge.caughtUpAt], [0, 13_000]);
  });

  it("counts the errors of the last hour, and is unhealthy over its bound", () => {
    const gauge = new LinkGauge(settings, 0);
    gauge.applied(heard, 0, 0);
    for (let i = 0; i < 11; i++) gauge.failed(`reason ${i}`, 10_000);
    gauge.applied({ ...heard, askedAt: 11_000 }, 0, 0);
    assert.deepEqual([gauge.status(11_000).errors, gauge.status(11_000).healthy], [11, false]);
    assert.equal(gauge.status(11_000).lastError, "reason 10");
    gauge.applied({ ...heard, askedAt: 3_610_000 }, 0, 0);
    assert.deepEqual([gauge.status(3_610_000).errors, gauge.status(3_610_000).healthy], [0, true]);
  });

  it("is unhealthy when nothing has ever been copied for too long", () => {
    const gauge = new LinkGauge(settings, 0);
    assert.equal(gauge.status(29_000).healthy, true);
    gauge.heard({ ...heard, walking: true });
    assert.match(gauge.status(31_000).detail, /^not copied once in 31 s; walking over all keys/);
    assert.equal(gauge.status(31_000).healthy, false);
  });
});

describe("comparison of sampled keys", () => {
  const key = "session:{1}.a";
  const at = (digest: string, expiresAt?: number) => ({
    to: undefined,
    dark: [],
    digests: [{ key, digest, expiresAt }],
  });
  const none = { to: undefined, dark: [], digests: [] };
  const here = (digest: string, expiresAt?: number) => new Map([[key, { digest, expiresAt }]]);

  it("counts what is stable at the source and other than here", () => {
    assert.deepEqual(compare(at("x"), here("x"), at("x")), { keys: 1, differences: 0 });
    assert.deepEqual(compare(at("x"), here("y"), at("x")), { keys: 1, differences: 1 });
    assert.deepEqual(compare(at("x"), new Map(), at("x")), { keys: 1, differences: 1 });
    assert.deepEqual(compare(none, here("x"), none), { keys: 1, differences: 1 });
  });

  it("leaves out what changed meanwhile, what was not looked at, and a second in a life's end", () => {
    assert.deepEqual(compare(at("x"), here("y"), at("z")), { keys: 0, differences: 0 });
    assert.deepEqual(compare(at("x"), here("y"), none), { keys: 0, differences: 0 });
    assert.deepEqual(compare(none, here("y"), at("y")), { keys: 0, differences: 0 });
    assert.deepEqual(compare(none, here("y"), { ...none, to: { slot: keySlot(key) } }), { keys: 0, differences: 0 });
    assert.deepEqual(compare(at("x", 5000), here("x", 6000), at("x", 5000)), { keys: 1, differences: 0 });
    assert.deepEqual(compare(at("x", 5000), here("x", 6001), at("x", 5000)), { keys: 1, differences: 1 });
    assert.deepEqual(compare(at("x", 5000), here("x"), at("x", 5000)), { keys: 1, differences: 1 });
  });
});

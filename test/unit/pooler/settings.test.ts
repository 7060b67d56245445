import assert from "node:assert/strict";
import fc from "fast-check";
import {
  ENTRIES,
  POOL_PROFILES,
  poolerSettings,
  poolSettings,
  poolsOf,
  serverConnections,
} from "../../../components/pooler/settings.ts";

const problems = (input: unknown) =>
  poolerSettings.safeParse(input).error?.issues.map((issue) => issue.path.join(".")) ?? [];

describe("pooler settings", () => {
  it("have the figures of the design: writes 10/2, reads 20/5, production's time-outs", () => {
    const pools = poolsOf(poolerSettings.parse({}));
    assert.deepEqual(pools.write, {
      max: 10,
      min: 2,
      acquireTimeoutMillis: 30_000,
      createTimeoutMillis: 30_000,
      destroyTimeoutMillis: 5_000,
      idleTimeoutMillis: 30_000,
      reapIntervalMillis: 1_000,
      createRetryIntervalMillis: 200,
    });
    assert.deepEqual(pools.read, { ...pools.write, max: 20, min: 5 });
  });

  it("begin from a named profile, with what is given on top", () => {
    const pools = poolsOf(poolerSettings.parse({ profile: "development", read: { max: 15 } }));
    assert.deepEqual(pools.write, POOL_PROFILES.development);
    assert.deepEqual(pools.read, { ...POOL_PROFILES.development, max: 15 });
    assert.equal(poolsOf(poolerSettings.parse({ profile: "production" })).write.max, 20);
  });

  it("keep the rules of the design, each with its path", () => {
    assert.deepEqual(problems({ write: { max: 101 } }), ["write.max"]);
    assert.deepEqual(problems({ write: { min: 0 } }), ["write.min"]);
    assert.deepEqual(problems({ write: { max: 3, min: 4 } }), ["write.min"]);
    assert.deepEqual(problems({ write: { max: 1 } }), ["write.min"]);
    const short = { acquireTimeoutMillis: 999, idleTimeoutMillis: 4999 };
    assert.deepEqual(problems({ write: short, read: short }), [
      "write.acquireTimeoutMillis",
      "write.idleTimeoutMillis",
      "read.acquireTimeoutMillis",
      "read.idleTimeoutMillis",
    ]);
    assert.deepEqual(problems({ write: { maximum: 3 } }), ["write"]);
    assert.deepEqual(problems({ profile: "staging" }), ["profile"]);
  });

  it("refuse different values of what PgBouncer holds once", () => {
    assert.deepEqual(problems({ read: { idleTimeoutMillis: 60_000 } }), ["read.idleTimeoutMillis"]);
    const both = { idleTimeoutMillis: 60_000, acquireTimeoutMillis: 5000 };
    assert.deepEqual(problems({ write: both, read: both }), []);
    assert.deepEqual(problems({ read: { destroyTimeoutMillis: 60_000 } }), []);
  });

  it("accept a pool exactly when every rule holds", () => {
    const pool = fc.record({
      max: fc.integer({ min: -5, max: 120 }),
      min: fc.integer({ min: -5, max: 120 }),
      acquireTimeoutMillis: fc.integer({ min: 0, max: 40_000 }),
      idleTimeoutMillis: fc.integer({ min: 0, max: 40_000 }),
    });
    fc.assert(
      fc.property(pool, (some) => {
        const valid =
          some.max >= some.min &&
          some.max <= 100 &&
          some.min >= 1 &&
          some.acquireTimeoutMillis >= 1000 &&
          some.idleTimeoutMillis >= 5000;
        assert.equal(poolSettings.safeParse({ ...POOL_PROFILES.production, ...some }).success, valid);
      }),
    );
  });

  it("count what all pods may open to one server, also while they are replaced", () => {
    assert.equal(serverConnections(poolerSettings.parse({})), (10 + 20) * 2 * 2);
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 10 }), fc.integer({ min: 5, max: 100 }), (replicas, max) => {
        const settings = poolerSettings.parse({ replicas, write: { max }, read: { max } });
        assert.equal(serverConnections(settings), replicas * 4 * max);
      }),
    );
  });

  it("explain every key", () => {
    for (const entry of ENTRIES) assert.ok(poolerSettings.shape[entry].description);
    for (const [key, schema] of Object.entries(poolerSettings.shape)) assert.ok(schema.description, key);
    for (const [key, schema] of Object.entries(poolSettings.shape)) assert.ok(schema.description, key);
  });
});

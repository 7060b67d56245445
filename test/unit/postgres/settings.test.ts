import assert from "node:assert/strict";
import fc from "fast-check";
import { parameterBytes } from "../../../components/postgres/parameters.ts";
import { postgresSettings, slotOfRegion, usableConnections } from "../../../components/postgres/settings.ts";

const defaults = postgresSettings.parse({});

/** Paths of what is wrong with settings; none when they are good. */
function problems(input: unknown): string[] {
  const result = postgresSettings.safeParse(input);
  return result.success ? [] : result.error.issues.map((issue) => issue.path.join("."));
}

describe("settings of PostgreSQL", () => {
  it("has the figures of the design as its defaults", () => {
    const p = defaults.parameters;
    assert.equal(defaults.replicas, 4);
    assert.deepEqual(
      [p.wal_level, p.max_wal_senders, p.max_replication_slots, p.hot_standby, p.hot_standby_feedback],
      ["replica", 10, 10, "on", "on"],
    );
    assert.deepEqual(
      [p.max_standby_archive_delay, p.max_standby_streaming_delay, p.wal_receiver_status_interval],
      ["30s", "30s", "10s"],
    );
    assert.deepEqual(
      [p.max_connections, p.shared_buffers, p.effective_cache_size, p.work_mem, p.maintenance_work_mem],
      [200, "256MB", "1GB", "4MB", "64MB"],
    );
    assert.deepEqual([p.checkpoint_completion_target, p.wal_buffers, p.default_statistics_target], [0.9, "16MB", 100]);
    assert.deepEqual([p.random_page_cost, p.effective_io_concurrency], [1.1, 200]);
    assert.deepEqual(defaults.slots, ["iam_replica_slot"]);
    assert.deepEqual(defaults.application, { user: "iam_app", database: "iam" });
    assert.deepEqual(defaults.synchronous, { mode: "quorum", nodeCount: 1, strict: false });
    assert.equal(defaults.maxReplicaLagBytes, 16 * 1024 * 1024);
  });

  it("takes timings exactly when Patroni takes them", () => {
    const timings = fc.record({
      ttlSeconds: fc.integer({ min: 1, max: 90 }),
      loopWaitSeconds: fc.integer({ min: 0, max: 61 }),
      retryTimeoutSeconds: fc.integer({ min: 1, max: 61 }),
    });
    fc.assert(
      fc.property(timings, (t) => {
        const allowed =
          t.ttlSeconds >= 20 &&
          t.loopWaitSeconds >= 1 &&
          t.loopWaitSeconds <= 60 &&
          t.retryTimeoutSeconds >= 3 &&
          t.retryTimeoutSeconds <= 60 &&
          t.loopWaitSeconds + 2 * t.retryTimeoutSeconds <= t.ttlSeconds;
        assert.equal(problems({ patroni: t }).length === 0, allowed);
      }),
    );
  });

  it("says what is wrong where it is wrong", () => {
    const cases: [unknown, string][] = [
      [{ replicas: 1 }, "synchronous.nodeCount"],
      [{ synchronous: { nodeCount: 4 } }, "synchronous.nodeCount"],
      [{ application: { user: "postgres" } }, "application.user"],
      [{ application: { user: "replicator" } }, "application.user"],
      [{ application: { database: "template1" } }, "application.database"],
      [{ application: { user: "Robert'); DROP" } }, "application.user"],
      [{ slots: ["a", "a"] }, "slots"],
      [{ slots: ["no-hyphen"] }, "slots.0"],
      [{ parameters: { max_wal_senders: 4 } }, "parameters.max_wal_senders"],
      [{ replicas: 9, parameters: { max_replication_slots: 8 } }, "parameters.max_replication_slots"],
      [{ parameters: { max_connections: 25, superuser_reserved_connections: 20 } }, "parameters.max_connections"],
      [{ parameters: { shared_buffers: "1GB" } }, "resources.memory"],
      [{ storageSize: "20Gi" }, "storageSize"],
      [{ parameters: { min_wal_size: "3GB" } }, "parameters.min_wal_size"],
      [{ terminationGraceSeconds: 25 }, "terminationGraceSeconds"],
      [{ parameters: { work_mem: "4 MB" } }, "parameters.work_mem"],
      [{ parameters: { fsync: "off" } }, "parameters"],
      [{ parameters: { max_slot_wal_keep_size: "-1" } }, "parameters.max_slot_wal_keep_size"],
      [{ extraParameters: { default_transaction_read_only: "on" } }, "extraParameters.default_transaction_read_only"],
      [{ extraParameters: { ssl: "off" } }, "extraParameters.ssl"],
      [{ extraParameters: { work_mem: "8MB" } }, "extraParameters.work_mem"],
      [{ extraParameters: { "bad name": "1" } }, "extraParameters.bad name"],
      [{ clientNetworks: [] }, "clientNetworks"],
      [{ clientNetworks: ["10.0.0.0"] }, "clientNetworks.0"],
      [{ unknown: 1 }, ""],
    ];
    for (const [input, path] of cases) {
      assert.ok(problems(input).includes(path), `${JSON.stringify(input)}: ${problems(input).join(", ")}`);
    }
  });

  it("lets a single server be, when nothing waits for a replica", () => {
    assert.deepEqual(problems({ replicas: 1, synchronous: { mode: "off" } }), []);
  });

  it("takes any other parameter of PostgreSQL by its name", () => {
    assert.deepEqual(problems({ extraParameters: { "pg_stat_statements.max": 1000, jit: "off" } }), []);
  });

  it("leaves fewer connections to the application than there are, and never none", () => {
    assert.equal(usableConnections(defaults), 187);
    fc.assert(
      fc.property(fc.integer({ min: 25, max: 10_000 }), fc.integer({ min: 3, max: 50 }), (all, reserved) => {
        const input = { parameters: { max_connections: all, superuser_reserved_connections: reserved } };
        const result = postgresSettings.safeParse(input);
        if (!result.success) return;
        const usable = usableConnections(result.data);
        assert.ok(usable > 0 && usable <= all - reserved);
      }),
    );
  });

  it("reads sizes as PostgreSQL does", () => {
    assert.equal(parameterBytes("16MB"), 16_777_216);
    assert.equal(parameterBytes("1kB"), 1024);
    assert.throws(() => parameterBytes("16 MB"), RangeError);
    assert.throws(() => parameterBytes("16mb"), RangeError);
  });

  it("names slots so that PostgreSQL takes them, whatever the region is called", () => {
    fc.assert(
      fc.property(fc.stringMatching(/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/), (region) => {
        assert.match(slotOfRegion(region), /^[a-z0-9_]{1,63}$/);
      }),
    );
  });
});

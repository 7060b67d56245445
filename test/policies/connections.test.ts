import assert from "node:assert/strict";
import fc from "fast-check";
import { CONFIG_FILES, configFiles } from "../../components/postgres/patroni.ts";
import { postgresSettings, usableConnections } from "../../components/postgres/settings.ts";
import { pgbouncerIni, POOLER_PORTS } from "../../components/pooler/plan.ts";
import { POOL_PROFILES, poolerSettings, poolSettings, serverConnections } from "../../components/pooler/settings.ts";
import { poolSize } from "../../policies/rules/pools/pool-size.ts";
import { poolSum } from "../../policies/rules/pools/pool-sum.ts";
import { poolTimeouts } from "../../policies/rules/pools/pool-timeouts.ts";
import { regionContext } from "../support/context.ts";
import { runDirectly } from "./direct.ts";
import { ChangedStack, realStack } from "./stack.ts";

/** A real stack with a pooler and a database of these settings, rendered by the components' own functions. */
async function stackOf(pooler: object, postgres: object = {}) {
  const poolerPlan = poolerSettings.parse(pooler);
  const database = postgresSettings.parse(postgres);
  const stack = new ChangedStack(await realStack("beijing"));
  const files = (name: string) => stack.object("ConfigMap", name)["data"] as Record<string, string>;
  files("pgbouncer-config")["pgbouncer.ini"] = pgbouncerIni({
    settings: poolerPlan,
    user: database.application.user,
    database: database.application.database,
    servers: { write: "postgresql", read: "postgresql-replicas" },
    nodes: [],
    ports: POOLER_PORTS,
    postgresPort: 5432,
    patroniPort: 8008,
    maxReplicaLagBytes: database.maxReplicaLagBytes,
  });
  stack.object("Deployment", "pgbouncer")["spec"].replicas = poolerPlan.replicas;
  files("postgresql-patroni")[CONFIG_FILES.dynamic] = configFiles(regionContext(), database, ["shanghai", "shenzhen"])[
    CONFIG_FILES.dynamic
  ]!;
  return { stack, needed: serverConnections(poolerPlan), usable: usableConnections(database) };
}

describe("rules of connections", () => {
  it("pool-sum finds exactly what the program's own arithmetic does not allow", async () => {
    const max = fc.integer({ min: 5, max: 100 });
    let [passed, failed] = [0, 0];
    await fc.assert(
      fc.asyncProperty(
        fc.record({ replicas: fc.integer({ min: 1, max: 10 }), write: max, read: max }),
        fc.record({ connections: fc.integer({ min: 100, max: 1000 }), reserved: fc.integer({ min: 3, max: 50 }) }),
        async ({ replicas, write, read }, { connections, reserved }) => {
          const { stack, needed, usable } = await stackOf(
            { replicas, write: { max: write }, read: { max: read } },
            { parameters: { max_connections: connections, superuser_reserved_connections: reserved } },
          );
          const violations = await runDirectly(stack.resources, { rules: [poolSum] });
          assert.equal(violations.length === 0, needed <= usable, JSON.stringify({ needed, usable, violations }));
          if (needed <= usable) passed++;
          else failed++;
        },
      ),
      { numRuns: 200 },
    );
    assert.ok(passed > 10 && failed > 10, `of 200 stacks ${passed} passed and ${failed} did not: too few of one kind`);
  });

  it("pool-sum finds the last connection that fits, and the first that does not", async () => {
    for (const [connections, found] of [
      [133, 0],
      [132, 1],
    ] as const) {
      const { stack } = await stackOf({}, { parameters: { max_connections: connections } });
      assert.equal((await runDirectly(stack.resources, { rules: [poolSum] })).length, found, `${connections}`);
    }
  });

  it("pool-sum counts old pods once where they go before their successors come, and takes others' connections in", async () => {
    const { stack } = await stackOf({}, { parameters: { max_connections: 100 } });
    const run = (config: object) => runDirectly(stack.resources, { rules: [poolSum], config: { "pool-sum": config } });
    assert.equal((await run({})).length, 1);
    stack.object("Deployment", "pgbouncer")["spec"].strategy = { type: "Recreate" };
    assert.deepEqual(await run({}), []);
    assert.deepEqual(await run({ other: 27 }), []);
    const [violation] = await run({ other: 28 });
    assert.match(violation!.message, /28 of others \+ 3 reserved for superusers = 101 are needed/);
  });

  it("pool-sum does not pass for pools that it cannot count", async () => {
    for (const [pools, message] of [
      ["", /has no pool/],
      ["* = user=iam_app pool_size=1 max_db_connections=1\n", /\*: stands for any database/],
      ["iam = user=iam_app\n", /iam: pool_size is not set/],
      ["iam = user=iam_app pool_size=few\n", /iam: pool_size is "few"/],
    ] as const) {
      const { stack } = await stackOf({});
      stack.file("pgbouncer-config", "pgbouncer.ini", (text) =>
        text.replace(/^iam = .*\n/m, pools).replace(/^iam_ro = .*\n/m, ""),
      );
      const [violation] = await runDirectly(stack.resources, { rules: [poolSum] });
      assert.match(violation?.message ?? "nothing", message);
    }
  });

  it("pool-size and pool-timeouts find exactly what the schema of a pool does not allow", async () => {
    const millis = fc.integer({ min: 0, max: 12_000 });
    const pool = fc.record({
      max: fc.integer({ min: 1, max: 120 }),
      min: fc.integer({ min: 0, max: 120 }),
      acquireTimeoutMillis: millis,
      idleTimeoutMillis: millis,
    });
    const stack = new ChangedStack(await realStack("beijing"));
    const files = stack.object("ConfigMap", "pgbouncer-config")["data"] as Record<string, string>;
    const real = files["pgbouncer.ini"]!;
    await fc.assert(
      fc.asyncProperty(pool, async (some) => {
        files["pgbouncer.ini"] = real
          .replace(/pool_size=10 min_pool_size=2/, `pool_size=${some.max} min_pool_size=${some.min}`)
          .replace(/query_wait_timeout = .*/, `query_wait_timeout = ${some.acquireTimeoutMillis / 1000}`)
          .replace(/server_idle_timeout = .*/, `server_idle_timeout = ${some.idleTimeoutMillis / 1000}`);
        const violations = await runDirectly(stack.resources, { rules: [poolSize, poolTimeouts] });
        const valid = poolSettings.safeParse({ ...POOL_PROFILES.production, ...some }).success;
        assert.equal(violations.length === 0, valid, JSON.stringify({ some, violations }));
      }),
    );
  });
});

import assert from "node:assert/strict";
import { createHash, createHmac, pbkdf2Sync } from "node:crypto";
import fc from "fast-check";
import { dynamicConfig } from "../../../components/postgres/patroni.ts";
import { postgresSettings } from "../../../components/postgres/settings.ts";
import { PodPrograms } from "../../support/pod-programs.ts";

type Config = { [key: string]: unknown };
const MANAGED = "iam_ha_managed";

/** PATCH /config as Patroni does it: null removes, dictionaries are merged, the rest is replaced. */
function patched(live: Config, patch: Config): Config {
  const result = { ...live };
  for (const [key, value] of Object.entries(patch)) {
    const old = result[key];
    if (value === null) delete result[key];
    else if (isConfig(value) && isConfig(old)) result[key] = patched(old, value);
    else result[key] = value;
  }
  return result;
}

function isConfig(value: unknown): value is Config {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

const scalar = fc.oneof(fc.integer({ min: 0, max: 3 }), fc.constantFrom("on", "off", "4MB"), fc.boolean());
const names = fc.constantFrom("a", "b", "c", "d");
const config = fc.record(
  {
    ttl: scalar,
    loop_wait: scalar,
    slots: fc.dictionary(names, fc.constant({ type: "physical" })),
    postgresql: fc.record(
      { use_slots: scalar, parameters: fc.dictionary(names, scalar) },
      { requiredKeys: ["parameters"] },
    ),
  },
  { requiredKeys: ["slots", "postgresql"] },
);
const foreign = fc.record(
  {
    standby_cluster: fc.record({ host: fc.constant("elsewhere") }),
    pause: fc.boolean(),
    postgresql: fc.record({
      parameters: fc.record({
        default_transaction_read_only: fc.constantFrom("on", "off"),
        archive_command: fc.constant("x"),
      }),
      pg_ident: fc.constant(["m a b"]),
    }),
  },
  { requiredKeys: [] },
);

describe("decisions of the reconciler", () => {
  const programs = new PodPrograms();
  const call = programs.call.bind(programs);
  before(() => programs.start());
  after(() => programs.stop());

  describe("what the reconciler changes in the dynamic configuration", () => {
    const histories = fc.sample(
      fc.array(config, { minLength: 1, maxLength: 3 }).chain((wanted) => fc.tuple(fc.constant(wanted), foreign)),
      150,
    );

    it("makes it hold all that is desired, removes what no longer is, and leaves alone what others wrote", async () => {
      // All histories go forward together, one desired configuration a step, so that Python starts few times.
      let states = histories.map(([wanted, others]) => ({
        wanted: wanted,
        others: others,
        live: others,
      }));
      for (let step = 0; step < 3; step++) {
        const now = states.filter(({ wanted }) => step < wanted.length);
        const patches = await call(now.map(({ wanted, live }) => ["plan_patch", [wanted[step], live]]));
        const after = now.map((state, i) => ({ ...state, live: patched(state.live, (patches[i] ?? {}) as Config) }));
        const again = await call(after.map(({ wanted, live }) => ["plan_patch", [wanted[step], live]]));
        again.forEach((patch, i) =>
          assert.equal(patch, null, `a second round changes something: ${JSON.stringify(after[i])}`),
        );
        for (const { wanted, others, live } of after) {
          const { [MANAGED]: managed, ...rest } = live;
          assert.ok(Array.isArray(managed));
          // What is left is exactly what others wrote and what is desired; empty remains of removed keys do not count.
          assert.deepEqual(leaves(rest), { ...leaves(others), ...leaves(wanted[step]!) });
        }
        states = after;
      }
    });

    it("never writes the keys of the run-time gates, even if told to", async () => {
      const [patch] = await call([
        [
          "plan_patch",
          [
            { ttl: 20, standby_cluster: { host: "x" }, pause: true },
            { [MANAGED]: ["pause", "standby_cluster/host"], pause: false, standby_cluster: { host: "y" } },
          ],
        ],
      ]);
      assert.deepEqual(patch, { ttl: 20, [MANAGED]: ["ttl"] });
    });

    it("takes values for equal that Patroni would not tell apart", async () => {
      const desired = { postgresql: { parameters: { max_connections: 200 } } };
      const live = {
        postgresql: { parameters: { max_connections: "200" } },
        [MANAGED]: ["postgresql/parameters/max_connections"],
      };
      assert.deepEqual(await call([["plan_patch", [desired, live]]]), [null]);
    });

    it("adds nothing but its own memory to a cluster that was just made", async () => {
      const desired = dynamicConfig(postgresSettings.parse({}), ["shanghai", "shenzhen"]);
      const [patch] = await call([["plan_patch", [desired, desired]]]);
      assert.deepEqual(Object.keys(patch as object), [MANAGED]);
    });

    it("changes what one setting changes, and no more", async () => {
      const of = (input: unknown) => dynamicConfig(postgresSettings.parse(input), ["shanghai"]);
      const [first] = await call([["plan_patch", [of({}), {}]]]);
      const [second] = await call([
        ["plan_patch", [of({ parameters: { work_mem: "8MB" }, synchronous: { nodeCount: 2 } }), first]],
      ]);
      assert.deepEqual(second, { synchronous_node_count: 2, postgresql: { parameters: { work_mem: "8MB" } } });
      const [third] = await call([["plan_patch", [dynamicConfig(postgresSettings.parse({}), []), first]]]);
      assert.deepEqual((third as Config)["slots"], { shanghai: null });
    });
  });

  function leaves(value: Config, path = ""): Record<string, unknown> {
    return Object.fromEntries(
      Object.entries(value).flatMap(([key, item]) =>
        isConfig(item) ? Object.entries(leaves(item, `${path}/${key}`)) : [[`${path}/${key}`, item]],
      ),
    );
  }

  interface Member {
    name: string;
    role: string;
    state: string;
    lag?: number | string;
    pending_restart?: boolean;
  }

  describe("which member is restarted next", () => {
    const cluster = (...pending: string[]): Member[] =>
      ["a", "b", "c", "d"].map((name) => ({
        name,
        role: name === "b" ? "leader" : "quorum_standby",
        state: name === "b" ? "running" : "streaming",
        ...(name === "b" ? {} : { lag: 0 }),
        ...(pending.includes(name) ? { pending_restart: true } : {}),
      }));
    const next = (members: Member[], restarted: Record<string, number> = {}, now = 1000) =>
      call([["next_restart", [members, 4, 1024, restarted, now]]]).then(([name]) => name);

    it("nobody, when nobody needs it", async () => assert.equal(await next(cluster()), null));
    it("replicas before the leader", async () => assert.equal(await next(cluster("a", "b", "c")), "a"));
    it("the leader when replicas had their turn, even if they still need one", async () => {
      assert.equal(await next(cluster("a", "b", "c"), { a: 900, c: 950 }), "b");
    });
    it("nobody twice in a row", async () => assert.equal(await next(cluster("a"), { a: 900 }), null));
    it("the same one again, much later", async () => assert.equal(await next(cluster("a"), { a: 300 }), "a"));
    it("nobody while a member is away, lags, is not running, or has an unknown lag", async () => {
      assert.equal(await next(cluster("a").slice(0, 3)), null);
      for (const change of [{ lag: 2000 }, { lag: "unknown" }, { state: "starting" }, { state: "stopped" }]) {
        const members = cluster("a").map((m) => (m.name === "d" ? { ...m, ...change } : m));
        assert.equal(await next(members), null, JSON.stringify(change));
      }
    });
    it("nobody while there is no leader", async () => {
      assert.equal(await next(cluster("a").map((m) => ({ ...m, role: "replica" }))), null);
    });
    it("a standby cluster's leader counts as one", async () => {
      assert.equal(
        await next(cluster("b").map((m) => (m.role === "leader" ? { ...m, role: "standby_leader" } : m))),
        "b",
      );
    });

    it("ends with everybody restarted, a lowered figure included, the leader once", async () => {
      for (const lowered of [false, true]) {
        const needs = new Set(["a", "b", "c", "d"]);
        const order: string[] = [];
        let restarted: Record<string, number> = {};
        for (let now = 0; now < 300 && needs.size > 0; now += 5) {
          const name = (await next(cluster(...needs), restarted, now)) as string | null;
          if (name === null) continue;
          order.push(name);
          restarted[name] = now;
          if (name === "b") restarted = { b: now };
          // A replica cannot take less than its primary has.
          if (!lowered || name === "b" || !needs.has("b")) needs.delete(name);
        }
        assert.deepEqual(order, lowered ? ["a", "c", "d", "b", "a", "c", "d"] : ["a", "c", "d", "b"]);
      }
    });
  });

  describe("passwords as PostgreSQL keeps them", () => {
    const salt = "W22ZaJ0SNY7soEsUEjb6gQ==";
    /** RFC 5803, written anew. */
    function verifier(password: string): string {
      const salted = pbkdf2Sync(password, Buffer.from(salt, "base64"), 4096, 32, "sha256");
      const mac = (text: string) => createHmac("sha256", salted).update(text).digest();
      const stored = createHash("sha256").update(mac("Client Key")).digest("base64");
      return `SCRAM-SHA-256$4096:${salt}$${stored}:${mac("Server Key").toString("base64")}`;
    }

    it("are RFC 5803 verifiers, that match their own password alone", async () => {
      const results = await call([
        ["scram_verifier", ["pencil", salt]],
        ["scram_matches", [verifier("pencil"), "pencil"]],
        ["scram_matches", [verifier("pencil"), "pencil2"]],
        ["scram_matches", [null, "pencil"]],
        ["scram_matches", ["md5abc", "pencil"]],
      ]);
      assert.deepEqual(results, [verifier("pencil"), true, false, false, false]);
    });

    it("come with what the monitoring role may do, and no more", async () => {
      assert.deepEqual(
        await call([
          ["grant_statements", ["monitor", "iam", []]],
          ["grant_statements", ["monitor", "iam", ["MEMBER pg_monitor", "MEMBER pg_read_all_data", "CONNECT"]]],
        ]),
        [
          [
            'GRANT pg_monitor TO "monitor";',
            'GRANT pg_read_all_data TO "monitor";',
            'GRANT CONNECT ON DATABASE "iam" TO "monitor";',
          ],
          [],
        ],
      );
    });

    it("are set where they differ, and never sent in plain", async () => {
      const roles = [
        ["postgres", "SUPERUSER", "pencil"],
        ["iam_app", "", "other-password"],
        ["rewind", "", "third-password"],
      ];
      const [statements] = (await call([
        ["role_statements", [roles, { postgres: verifier("pencil"), rewind: verifier("old") }]],
      ])) as [string[]];
      assert.deepEqual(
        statements.map((s) => s.split(" PASSWORD ")[0]!.trim()),
        ['CREATE ROLE "iam_app" LOGIN', 'ALTER ROLE "rewind"'],
      );
      assert.doesNotMatch(statements.join("\n"), /other-password|third-password/);
    });
  });
});

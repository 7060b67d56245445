import assert from "node:assert/strict";
import { spawn, type ChildProcessWithoutNullStreams } from "node:child_process";
import { createHash, createHmac, pbkdf2Sync } from "node:crypto";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { CLONE_METHOD, dynamicConfig } from "../../../components/postgres/patroni.ts";
import { postgresSettings } from "../../../components/postgres/settings.ts";
import type { BirthAnswer } from "../../../sidecar/core/region-status.ts";

const FILES = fileURLToPath(new URL("../../../components/postgres/files", import.meta.url));
const DRIVER = `
import base64, json, sys
sys.dont_write_bytecode = True
sys.path.insert(0, sys.argv[1])
import rules, roles, birth, source, clone
def run(name, args):
    if name == "scram_verifier": args = [args[0], base64.b64decode(args[1])]
    if name == "parse":
        try: return birth.parse(args[0])
        except ValueError as error: return str(error)
    for module in (rules, roles, birth, source, clone):
        if hasattr(module, name): return getattr(module, name)(*args)
for line in sys.stdin:
    print(json.dumps([run(name, args) for name, args in json.loads(line)]), flush=True)
`;

let python: ChildProcessWithoutNullStreams;
let answers: AsyncIterator<string>;
let complaints = "";

/** Calls functions of rules.py and roles.py, in one Python for all tests. */
async function call(calls: readonly [name: string, args: unknown[]][]): Promise<unknown[]> {
  python.stdin.write(`${JSON.stringify(calls)}\n`);
  const { done, value } = await answers.next();
  if (done) throw new Error(`Python ended: ${complaints}`);
  return JSON.parse(value) as unknown[];
}

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
  before(() => {
    python = spawn("python3", ["-c", DRIVER, FILES]);
    python.stderr.on("data", (chunk: Buffer) => (complaints += chunk.toString()));
    answers = createInterface(python.stdout)[Symbol.asyncIterator]();
  });
  after(() => python.kill());

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

  describe("a standby whose source has dropped the WAL that it needs", () => {
    interface Other {
      name: string;
      state: string;
      position: number | null;
    }
    const me = { name: "l", position: 100 };
    const plan = (others: Other[], gone: number, asked: Record<string, number> = {}, now = 10_000) =>
      call([["plan_rebuild", [me, others, gone, 30, asked, now]]]).then(([action]) => action);
    const other = (name: string, position: number | null = 100, state = "running"): Other => ({
      name,
      state,
      position,
    });

    it("is left alone for a while", async () => assert.equal(await plan([other("a")], 29), null));
    it("has one replica copied from the source, and only one", async () => {
      assert.deepEqual(await plan([other("b", 90), other("a")], 30), ["reinitialize", "a"]);
      assert.equal(await plan([other("a", null, "creating replica"), other("b")], 60), null);
      assert.equal(await plan([other("a", null, "stopped"), other("b")], 60, { a: 9950 }), null);
      assert.deepEqual(await plan([other("a", null, "stopped"), other("b")], 60, { a: 9000 }), ["reinitialize", "b"]);
    });
    it("gives the lead to the one that has been", async () => {
      assert.deepEqual(await plan([other("a", 100), other("b", 101)], 30, { b: 9999 }), ["switchover", "b"]);
    });
    it("is copied itself where it is alone, and later where nobody else runs", async () => {
      assert.deepEqual(await plan([], 30), ["self", "l"]);
      assert.equal(await plan([other("a", null, "stopped")], 119), null);
      assert.deepEqual(await plan([other("a", null, "stopped")], 120), ["self", "l"]);
    });

    it("never loses its only copy while another could be made first, whatever is seen of others", async () => {
      const state = fc.constantFrom("running", "streaming", "in archive recovery", "creating replica", "stopped");
      const one = fc.record({
        name: fc.constantFrom("a", "b", "c"),
        state,
        position: fc.option(fc.integer({ min: 1, max: 200 })),
      });
      const cases = fc.sample(
        fc.tuple(
          fc.uniqueArray(one, { maxLength: 3, selector: ({ name }) => name }),
          fc.integer({ min: 0, max: 300 }),
          fc.dictionary(fc.constantFrom("a", "b", "c"), fc.integer({ min: 9700, max: 10_000 }), {
            noNullPrototype: true,
          }),
        ),
        500,
      );
      const plans = await call(
        cases.map(([others, gone, asked]) => ["plan_rebuild", [me, others, gone, 30, asked, 10_000]]),
      );
      let acted = 0;
      cases.forEach(([others, gone], i) => {
        const planned = plans[i] as [string, string] | null;
        if (planned === null) return;
        acted++;
        assert.ok(gone >= 30);
        const [action, name] = planned;
        const runs = (o: Other) =>
          ["running", "streaming", "in archive recovery"].includes(o.state) && o.position !== null;
        const target = others.find((o) => o.name === name);
        if (action === "self") assert.ok(!others.some(runs) && !others.some((o) => o.state === "creating replica"));
        if (action === "switchover") assert.ok(target && runs(target) && target.position! > me.position);
        if (action === "reinitialize")
          assert.ok(target && runs(target) && !others.some((o) => runs(o) && o.position! > me.position));
      });
      assert.ok(acted > 100, `${acted} plans`);
    });

    it("ends with every member copied, the lead passed on once, and never two copied at a time", async () => {
      // A source at 1000; a copy takes three rounds; whoever is copied while the leader is stuck comes from the source.
      const members = new Map(["a", "b", "c"].map((name) => [name, { position: 100, copying: 0 }]));
      let leader = "a";
      let asked: Record<string, number> = {};
      const order: string[] = [];
      for (let now = 0; now < 2000 && [...members.values()].some(({ position }) => position < 1000); now += 5) {
        for (const [, member] of members) if (member.copying > 0 && --member.copying === 0) member.position = 1000;
        const others = [...members]
          .filter(([name]) => name !== leader)
          .map(([name, { position, copying }]) =>
            copying > 0 ? other(name, null, "creating replica") : other(name, position),
          );
        const at = members.get(leader)!.position;
        const stalled = Object.fromEntries(others.filter((o) => o.position! < 1000).map((o) => [o.name, 60]));
        const [step] = (await call(
          at < 1000
            ? [["plan_rebuild", [{ name: leader, position: at }, others, 60, 30, asked, now]]]
            : [["next_stranded", [others, stalled, 30, asked, now]]],
        )) as ([string, string] | string | null)[];
        if (step === null || step === undefined) continue;
        const [action, name] = typeof step === "string" ? ["reinitialize", step] : step;
        order.push(`${action} ${name}`);
        if (action === "switchover") [leader, asked] = [name, {}];
        else {
          assert.ok([...members.values()].every(({ copying }) => copying === 0));
          members.get(name)!.copying = 3;
          asked = { ...asked, [name]: now };
        }
      }
      assert.deepEqual(order, ["reinitialize b", "switchover b", "reinitialize a", "reinitialize c"]);
    });

    it("knows what it needs from Patroni's own words, and that a missing segment is not any other failure", async () => {
      const state = { xlog: { received_location: 0x1_0300_0000, replayed_location: 5 }, timeline: 7 };
      assert.deepEqual(
        await call([
          ["needs", [{ ...state, database_system_identifier: 42 }]],
          ["needs", [state]],
          ["needs", [{}]],
          ["verdict_of", ["58P01", "ERROR:  requested WAL segment 00000001 has already been removed"]],
          ["verdict_of", ["55000", "ERROR:  requested starting point is not in this server's history"]],
          ["verdict_of", ["58P01", 'ERROR:  could not open file "pg_wal/00000002.history"']],
          ["verdict_of", [null, "server closed the connection unexpectedly"]],
        ]),
        [
          { position: 0x1_0300_0000, lsn: "1/3000000", timeline: 7, system_id: "42" },
          null,
          null,
          "gone",
          "refused",
          "refused",
          "refused",
        ],
      );
    });

    it("quotes what it puts into a connection string", async () => {
      assert.deepEqual(await call([["quoted", ["it's \\ here"]]]), ["'it\\'s \\\\ here'"]);
    });
  });

  describe("what a region controller says at birth", () => {
    const parse = (answer: unknown) => call([["parse", [answer]]]).then(([parsed]) => parsed);
    const source = { host: "postgresql-beijing.iam.example.com", port: 5432, slot: "shanghai" };

    it("is taken when it is whole", async () => {
      for (const answer of [
        { as: "primary", cause: "nobody is active yet" },
        { as: "wait", cause: "the witness is away" },
        { as: "standby", cause: "beijing is active", source },
      ] satisfies BirthAnswer[])
        assert.deepEqual(await parse(answer), answer);
    });
    it("is refused, in words, when it is not", async () => {
      assert.match(String(await parse({ as: "active" })), /not an answer with "as" primary, standby or wait/);
      assert.match(String(await parse([])), /not an answer/);
      assert.match(String(await parse({ as: "standby" })), /a standby without a source/);
      assert.match(String(await parse({ as: "standby", source: { ...source, host: "a b" } })), /source\.host/);
      assert.match(String(await parse({ as: "standby", source: { ...source, port: 0 } })), /source\.port/);
      assert.match(String(await parse({ as: "standby", source: { ...source, slot: "x;y" } })), /source\.slot/);
    });
    it("becomes Patroni's standby cluster, whose members are copied by our own method first", async () => {
      assert.deepEqual(await call([["standby_cluster", [source, CLONE_METHOD]]]), [
        {
          host: source.host,
          port: 5432,
          primary_slot_name: "shanghai",
          create_replica_methods: ["iam_ha_clone", "basebackup"],
        },
      ]);
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

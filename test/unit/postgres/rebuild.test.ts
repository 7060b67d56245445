import assert from "node:assert/strict";
import fc from "fast-check";
import { CLONE_METHOD } from "../../../components/postgres/patroni.ts";
import type { BirthAnswer } from "../../../sidecar/core/region-status.ts";
import { PodPrograms } from "../../support/pod-programs.ts";

describe("a database pod among regions", () => {
  const programs = new PodPrograms();
  const call = programs.call.bind(programs);
  before(() => programs.start());
  after(() => programs.stop());

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
      ] satisfies BirthAnswer[])
        assert.deepEqual(await parse(answer), answer);
      // Whether the source can be copied from just now is not for the pod: it tries until it can.
      const standby = { as: "standby", cause: "beijing is active", source } as const;
      assert.deepEqual(await parse({ ...standby, ready: true } satisfies BirthAnswer), standby);
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
});

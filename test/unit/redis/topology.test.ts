import assert from "node:assert/strict";
import fc from "fast-check";
import { plan, type Desired } from "../../../sidecar/core/redis-topology.ts";
import { RedisModel } from "../../support/redis-model.ts";

const NODES = 6;
const MASTERS = 3;
/** Rounds of looking, acting and waiting in which any state must have become a sound one. */
const ROUNDS = 25;

type Event =
  | { kind: "kill" | "restart" | "wipe"; node: number }
  | { kind: "move"; node: number; machine: number }
  | { kind: "mistake"; node: number; about: number }
  | { kind: "restart-all" }
  | { kind: "settle" }
  | { kind: "keeper"; settled: boolean; unseen: number[]; actions: number };

const node = fc.nat(NODES - 1);
const event: fc.Arbitrary<Event> = fc.oneof(
  fc.record({ kind: fc.constantFrom("kill" as const, "restart" as const, "wipe" as const), node }),
  fc.record({ kind: fc.constant("move" as const), node, machine: fc.nat(3) }),
  fc.record({ kind: fc.constant("mistake" as const), node, about: node }),
  fc.record({ kind: fc.constant("restart-all" as const) }),
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("settle" as const) }) },
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant("keeper" as const),
      settled: fc.boolean(),
      unseen: fc.array(node, { maxLength: 2 }),
      // The keeper may be killed after any of its actions.
      actions: fc.oneof(fc.nat(4), fc.constant(99)),
    }),
  },
);

function happen(model: RedisModel, desired: Desired, what: Event): void {
  switch (what.kind) {
    case "kill":
      return model.kill(what.node);
    case "restart":
      return model.restart(what.node);
    case "wipe":
      return model.restart(what.node, { wipe: true });
    case "move":
      return model.restart(what.node, { machine: `machine-${what.machine}` });
    case "mistake":
      return model.mistake(what.node, what.about);
    case "restart-all":
      return model.nodes.forEach((_, i) => model.restart(i));
    case "settle":
      return model.settle();
    case "keeper": {
      const nodes = model.observe(new Set(what.unseen));
      const { actions } = plan(desired, { nodes, settled: what.settled });
      for (const action of actions.slice(0, what.actions)) model.apply(action);
    }
  }
}

/** Looks, acts and waits until nothing is left to do; returns the rounds it took. */
function run(model: RedisModel, desired: Desired, rounds = ROUNDS): number {
  for (let round = 0; round < rounds; round++) {
    const { actions } = plan(desired, { nodes: model.observe(), settled: true });
    for (const action of actions) model.apply(action);
    model.settle();
    if (actions.length === 0) return round;
  }
  return rounds;
}

const DESIRED: Desired = { masters: MASTERS, spread: false };

/** A sound cluster, formed from nothing. */
function formed(): RedisModel {
  const model = new RedisModel(MASTERS, NODES, 1);
  run(model, DESIRED);
  return model;
}

const kindsOf = (model: RedisModel, settled = true) =>
  plan(DESIRED, { nodes: model.observe(), settled }).actions.map(({ kind }) => kind);

const problemsOf = (model: RedisModel, desired: Desired) =>
  plan(desired, { nodes: model.observe(), settled: true }).problems.map(({ kind }) => kind);

describe("the plan of the Redis keeper", () => {
  for (const spread of [false, true]) {
    const desired: Desired = { masters: MASTERS, spread };
    const machines = spread ? 3 : 1;

    it(`forms a cluster from nothing${spread ? " over three machines" : ""}`, () => {
      const model = new RedisModel(MASTERS, NODES, machines);
      const rounds = run(model, desired);
      assert.deepEqual(model.flaws(spread), []);
      assert.ok(rounds <= 5, `${rounds} rounds`);
      assert.deepEqual(problemsOf(model, desired), []);
    });

    it(`finds back to a sound cluster from whatever happened, or says what is lost${spread ? ", over machines" : ""}`, function () {
      this.timeout(180_000);
      fc.assert(
        fc.property(fc.array(event, { maxLength: 25 }), fc.boolean(), (events, formed) => {
          const model = new RedisModel(MASTERS, NODES, machines);
          if (formed) run(model, desired);
          for (const one of events) happen(model, desired, one);
          // In the end every pod runs again.
          model.nodes.forEach((one, i) => {
            if (!one.up) model.restart(i);
          });
          model.settle();
          run(model, desired);
          // All copies of a shard may have been wiped; but never is that passed over in silence.
          if (model.lost && problemsOf(model, desired).includes("shard-lost")) return;
          // Pods may have been moved so that no placement keeps all replicas off their masters' machines.
          const flaws = model.flaws(false);
          assert.deepEqual(flaws, [], problemsOf(model, desired).join(" "));
          assert.deepEqual(problemsOf(model, desired), []);
        }),
        { numRuns: 400 },
      );
    });
  }

  it("forms a cluster of masters alone, and keeps it whole through restarts and killed pods", () => {
    const desired: Desired = { masters: MASTERS, spread: false };
    const what = fc.oneof(
      fc.record({ kind: fc.constantFrom("kill" as const, "restart" as const), node: fc.nat(MASTERS - 1) }),
      fc.constant({ kind: "keeper" as const, unseen: [] as number[], settled: true, actions: 2 }),
      fc.constantFrom({ kind: "restart-all" as const }, { kind: "settle" as const }),
    );
    fc.assert(
      fc.property(fc.array(what, { maxLength: 15 }), fc.boolean(), (events, formed) => {
        const model = new RedisModel(MASTERS, MASTERS, 1);
        if (formed) run(model, desired);
        for (const one of events) happen(model, desired, one);
        model.nodes.forEach((one, i) => {
          if (!one.up) model.restart(i);
        });
        model.settle();
        run(model, desired);
        assert.deepEqual(problemsOf(model, desired), []);
        assert.equal(model.lost, false);
        assert.equal(model.nodes.filter((one) => one.slots.length > 0).length, MASTERS);
      }),
      { numRuns: 300 },
    );
  });

  it("says that a master's data is lost with its volume where it has no replica", () => {
    const desired: Desired = { masters: MASTERS, spread: false };
    const model = new RedisModel(MASTERS, MASTERS, 1);
    run(model, desired);
    model.restart(0, { wipe: true });
    model.settle();
    run(model, desired);
    assert.ok(problemsOf(model, desired).includes("shard-lost"));
  });

  it("puts replicas off their masters' machines, and masters on different ones, after pods have moved", () => {
    const desired: Desired = { masters: MASTERS, spread: true };
    fc.assert(
      fc.property(fc.shuffledSubarray([0, 1, 2, 3, 4, 5], { minLength: 6 }), (order) => {
        const model = new RedisModel(MASTERS, NODES, 3);
        run(model, desired);
        // Two pods a machine, in any arrangement.
        order.forEach((i, at) => model.restart(i, { machine: `machine-${at % 3}` }));
        model.settle();
        const rounds = run(model, desired, 40);
        assert.ok(rounds < 40, "it comes to rest");
        assert.deepEqual(model.flaws(true), []);
        const masters = model.nodes.filter((one) => one.slots.length > 0).map((one) => one.machine);
        assert.equal(new Set(masters).size, 3, masters.join(" "));
      }),
      { numRuns: 200 },
    );
  });

  it("does nothing to a cluster at rest, settled or not", () => {
    const model = new RedisModel(MASTERS, NODES, 3);
    const desired: Desired = { masters: MASTERS, spread: true };
    run(model, desired);
    for (const settled of [false, true])
      assert.deepEqual(plan(desired, { nodes: model.observe(), settled }), { actions: [], problems: [] });
  });

  it("gives out no slot while one expected node is not seen", () => {
    fc.assert(
      fc.property(node, (hidden) => {
        const model = new RedisModel(MASTERS, NODES, 1);
        for (let round = 0; round < 10; round++) {
          const { actions } = plan(
            { masters: MASTERS, spread: false },
            { nodes: model.observe(new Set([hidden])), settled: true },
          );
          for (const action of actions) model.apply(action);
          model.settle();
        }
        assert.equal(model.given.size, 0);
      }),
    );
  });

  it("joins two clusters by no means", () => {
    const [a, b] = [new RedisModel(1, 2, 1), new RedisModel(1, 2, 1)];
    for (const model of [a, b]) run(model, { masters: 1, spread: false });
    const second = b.observe().map((one) => ({
      ...one,
      name: `other-${one.name}`,
      view: {
        ...one.view!,
        self: { ...one.view!.self, id: `x${one.view!.self.id}` },
        peers: one.view!.peers.map((peer) => ({ ...peer, id: `x${peer.id}` })),
      },
    }));
    const result = plan({ masters: 2, spread: false }, { nodes: [...a.observe(), ...second], settled: true });
    assert.deepEqual(result.actions, []);
    assert.deepEqual(
      result.problems.map(({ kind }) => kind),
      ["separate-clusters"],
    );
  });

  it("takes a copied volume for what it is", () => {
    const model = formed();
    model.nodes[1]!.id = model.nodes[0]!.id;
    const result = plan(DESIRED, { nodes: model.observe(), settled: true });
    assert.deepEqual([result.actions, result.problems.map(({ kind }) => kind)], [[], ["same-id"]]);
  });

  it("lets a replica take over without a vote only where the majority of masters lost their volumes", () => {
    const model = formed();
    const masters = model.nodes.flatMap((one, i) => (one.slots.length > 0 ? [i] : []));
    const kinds = () => kindsOf(model);

    model.restart(masters[0]!, { wipe: true });
    model.settle({ elections: false });
    assert.ok(kinds().length > 0);
    assert.ok(!kinds().includes("takeover"), "the other two elect");
    model.settle();
    run(model, DESIRED);
    masters.splice(0, 3, ...model.nodes.flatMap((one, i) => (one.slots.length > 0 ? [i] : [])));

    masters.slice(0, 2).forEach((i) => model.kill(i));
    model.settle();
    assert.ok(!kinds().includes("takeover"), "they may come back");
    masters.slice(0, 2).forEach((i) => model.restart(i, { wipe: true }));
    model.settle();
    assert.deepEqual(
      kinds().filter((kind) => kind === "takeover"),
      ["takeover"],
    );
    run(model, DESIRED);
    assert.deepEqual(model.flaws(false), []);
  });

  it("heals an epoch that others mistook, so that the replica can be elected", () => {
    const masterOf = (model: RedisModel) => model.nodes.findIndex((one) => one.slots.length > 0);
    for (const healed of [true, false]) {
      const model = formed();
      const master = masterOf(model);
      model.nodes.forEach((one, i) => one.slots.length > 0 && i !== master && model.mistake(i, master));
      assert.deepEqual(kindsOf(model), ["bump"]);
      if (healed) {
        run(model, DESIRED);
        model.kill(master);
        model.settle();
        assert.ok(
          model.nodes.some((one) => one.up && one.slots.some(([first]) => first === 0)),
          "the replica serves",
        );
        continue;
      }
      // Its volume is lost before anything could be healed: nobody would ever vote for the replica.
      model.restart(master, { wipe: true });
      model.settle();
      assert.ok(kindsOf(model).includes("takeover"));
      run(model, DESIRED);
      assert.deepEqual(model.flaws(false), []);
      assert.equal(model.lost, false);
    }
  });

  it("tells a replica again of a master whose new address it has by hearsay alone", () => {
    const model = formed();
    const replica = model.nodes.find((one) => one.masterId !== undefined)!;
    const master = model.live(replica.masterId)!;
    const former = master.address;
    model.restart(model.nodes.indexOf(master));
    // What gossip does to the table of a replica that has given the master up: nothing reaches replication.
    replica.table.get(master.id)!.address = master.address;
    model.settle();
    assert.equal(replica.masterAt, former, "it asks at the old address for ever");
    const look = plan(DESIRED, { nodes: model.observe(), settled: true });
    assert.deepEqual(look.actions, [
      {
        kind: "replicate",
        at: replica.name,
        masterId: master.id,
        cause: `${replica.name} looks for its master ${master.name} at ${former.ip}:6379, and it is at ${master.address.ip}:6379`,
      },
    ]);
    run(model, DESIRED);
    assert.deepEqual(model.flaws(false), []);
    assert.deepEqual(plan(DESIRED, { nodes: model.observe(), settled: true }), { actions: [], problems: [] });
  });

  it("leaves a replica alone that has followed its master, whose master is away, or is not known at its address", () => {
    const model = formed();
    const replica = model.nodes.find((one) => one.masterId !== undefined)!;
    const master = model.live(replica.masterId)!;
    const kinds = () => kindsOf(model, false);
    assert.deepEqual(kinds(), []);
    replica.masterAt = { ...master.address, ip: "10.0.0.250" };
    assert.deepEqual(kinds(), ["replicate"]);
    // Its table is behind too: first they are introduced, and nothing but that.
    model.restart(model.nodes.indexOf(master));
    assert.ok(!kinds().includes("replicate"));
    model.kill(model.nodes.indexOf(master));
    assert.ok(!kinds().includes("replicate"));
  });

  it("gives a lost shard out anew once its dead owner is forgotten by a person", () => {
    const model = formed();
    const master = model.nodes.find((one) => one.slots.length > 0)!;
    const dead = master.id;
    const lost = master.slots[0]![0];
    model.nodes.forEach((one, i) => {
      if (one === master || one.masterId === dead) model.restart(i, { wipe: true });
    });
    // Before anyone has noticed, too, the empty nodes are kept for the lost shard.
    for (let round = 0; round < 2; round++)
      for (const action of plan(DESIRED, { nodes: model.observe(), settled: true }).actions) model.apply(action);
    assert.equal(model.nodes.filter((one) => one.masterId === undefined && one.slots.length === 0).length, 2);
    model.settle();
    run(model, DESIRED);
    assert.deepEqual(problemsOf(model, DESIRED), ["shard-lost"]);
    for (const one of model.nodes) {
      one.table.delete(dead);
      one.banned.add(dead);
    }
    model.given.delete(lost);
    run(model, DESIRED);
    assert.deepEqual(model.flaws(false), []);
  });
});

import assert from "node:assert/strict";
import fc from "fast-check";
import { nodeView, parseClusterNodes, parseInfo, slotCount, SLOTS } from "../../../sidecar/core/redis-nodes.ts";
import { assignReplicas, cheapestAssignment, chooseSpread, shares } from "../../../sidecar/core/redis-placement.ts";
import { machinesOf } from "../../../sidecar/redis-keeper/placement.ts";

const ID = (letter: string) => letter.repeat(40);
// As Redis 8.0 answers, with ids shortened to one letter.
const ANSWER = `${ID("a")} 10.0.0.1:6379@16379,redis-0.redis-nodes,,tls-port=0,shard-id=${ID("f")} myself,master - 0 0 3 connected 0-100 102 [103-<-${ID("b")}]
${ID("b")} 10.0.0.2:6379@16379,redis-1.redis-nodes slave ${ID("a")} 0 1790000000000 3 connected
${ID("c")} :0@0,redis-2.redis-nodes master,fail,noaddr - 1790000000000 1790000000000 2 disconnected 10923-16383
${ID("d")} fd00::7:6379@16379 master,fail? - 0 0 1 connected
${ID("e")} 10.0.0.5:6379@16379 handshake - 0 0 0 connected
`;

describe("what Redis nodes say", () => {
  it("reads CLUSTER NODES", () => {
    const { self, peers } = parseClusterNodes(ANSWER);
    assert.equal(self.id, ID("a"));
    assert.equal(self.hostname, "redis-0.redis-nodes");
    assert.deepEqual(self.slots, [
      [0, 100],
      [102, 102],
    ]);
    assert.equal(slotCount(self.slots), 102);
    assert.equal(self.configEpoch, 3);
    const [b, c, d, e] = peers;
    assert.deepEqual([b!.role, b!.masterId, b!.failed], ["replica", ID("a"), false]);
    assert.deepEqual([c!.failed, c!.noAddress, c!.connected, c!.slots], [true, true, false, [[10923, 16383]]]);
    assert.deepEqual(
      [d!.address, d!.suspect, d!.failed, d!.hostname],
      [{ ip: "fd00::7", port: 6379, busPort: 16379 }, true, false, ""],
    );
    assert.equal(e!.handshake, true);
  });

  it("refuses what is no such answer", () => {
    assert.throws(() => parseClusterNodes("LOADING Redis is loading the dataset in memory"), RangeError);
    assert.throws(() => parseClusterNodes(ANSWER.replace("myself,", "")), /without a line of the node itself/);
    assert.throws(() => parseClusterNodes(ANSWER.replace("0-100", "0-x")), /range of slots/);
  });

  it("reads INFO, and counts keys of every database", () => {
    const info =
      "# Replication\r\nrole:slave\r\nmaster_host:10.0.0.9\r\nmaster_port:6379\r\nmaster_link_status:up\r\nslave_repl_offset:42\r\n\r\n# Keyspace\r\ndb0:keys=7,expires=1,avg_ttl=0\r\n";
    assert.equal(parseInfo(info).get("role"), "slave");
    const view = nodeView(ANSWER, info);
    assert.deepEqual([view.keys, view.inSync, view.offset], [7, true, 42]);
    assert.deepEqual(view.masterAt, { ip: "10.0.0.9", port: 6379 });
    assert.equal(nodeView(ANSWER, "role:master\r\n").masterAt, undefined);
    assert.deepEqual(
      [nodeView(ANSWER, "role:master\r\n").keys, nodeView(ANSWER, "role:master\r\n").inSync],
      [0, false],
    );
  });

  it("reads the machines of pods, those not yet scheduled left out", () => {
    const list = {
      items: [
        { metadata: { name: "redis-0" }, spec: { nodeName: "n1" } },
        { metadata: { name: "redis-1" }, spec: {} },
      ],
    };
    assert.deepEqual([...machinesOf(list)], [["redis-0", "n1"]]);
    assert.throws(() => machinesOf({ kind: "Status" }), TypeError);
  });
});

describe("placement", () => {
  it("shares all slots evenly and without gaps", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 64 }), (masters) => {
        const all = shares(masters);
        let next = 0;
        for (const [first, last] of all) {
          assert.equal(first, next);
          next = last + 1;
          assert.ok(Math.abs(last - first + 1 - SLOTS / masters) < 1);
        }
        assert.equal(next, SLOTS);
      }),
    );
  });

  it("finds the cheapest assignment, as trying all of them does", () => {
    const matrix = fc.integer({ min: 1, max: 5 }).chain((rows) =>
      fc.integer({ min: rows, max: 6 }).chain((columns) =>
        fc.array(fc.array(fc.nat(50), { minLength: columns, maxLength: columns }), {
          minLength: rows,
          maxLength: rows,
        }),
      ),
    );
    const best = (cost: number[][], row = 0, used = new Set<number>()): number => {
      if (row === cost.length) return 0;
      const options = cost[row]!.flatMap((price, column) =>
        used.has(column) ? [] : [price + best(cost, row + 1, new Set([...used, column]))],
      );
      return Math.min(...options);
    };
    fc.assert(
      fc.property(matrix, (cost) => {
        const columns = cheapestAssignment(cost);
        assert.equal(new Set(columns).size, cost.length);
        assert.equal(
          columns.reduce((sum, column, row) => sum + cost[row]![column]!, 0),
          best(cost),
        );
      }),
    );
  });

  const master = (i: number, machine: string) => ({ id: `m${i}`, machine });
  const replica = (i: number, machine: string, masterId?: string, fixed = false) => ({
    id: `r${i}`,
    machine,
    masterId,
    fixed,
  });

  it("keeps replicas off their masters' machines and moves none without need", () => {
    const masters = [master(0, "a"), master(1, "b"), master(2, "c")];
    const good = [replica(0, "b", "m0"), replica(1, "c", "m1"), replica(2, "a", "m2")];
    assert.deepEqual(
      [...assignReplicas(masters, good)],
      [
        ["r0", "m0"],
        ["r1", "m1"],
        ["r2", "m2"],
      ],
    );
    const bad = [replica(0, "a", "m0"), replica(1, "c", "m1"), replica(2, "b", "m2")];
    const target = assignReplicas(masters, bad);
    assert.equal(new Set(target.values()).size, 3);
    for (const { id, machine } of bad) assert.notEqual(masters.find((m) => m.id === target.get(id))!.machine, machine);
  });

  it("prefers an even spread of replicas to their machines, and leaves the fixed ones", () => {
    const masters = [master(0, "a"), master(1, "a")];
    const target = assignReplicas(masters, [replica(0, "b", "m0", true), replica(1, "a", "m0")]);
    assert.deepEqual(
      [...target],
      [
        ["r0", "m0"],
        ["r1", "m1"],
      ],
    );
    assert.deepEqual([...assignReplicas([], [replica(0, "b")])], []);
  });

  it("chooses masters on as many machines as there are", () => {
    const candidates = [master(0, "a"), master(1, "a"), master(2, "b"), master(3, "c")];
    assert.deepEqual(
      chooseSpread(candidates, 3, []).map(({ id }) => id),
      ["m0", "m2", "m3"],
    );
    assert.deepEqual(
      chooseSpread(candidates, 1, [master(9, "a")]).map(({ id }) => id),
      ["m2"],
    );
    assert.equal(chooseSpread(candidates, 9, []).length, 4);
  });
});

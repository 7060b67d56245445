import assert from "node:assert/strict";
import fc from "fast-check";
import {
  activityProblems,
  claimTransaction,
  decideActivity,
  dnsKey,
  dnsRecord,
  dnsRepair,
  WITNESS_KEYS,
  witnessView,
  type ActivityAction,
  type KeyValue,
  type WitnessView,
} from "../../../sidecar/core/region-activity.ts";
import type { DatabaseStatus } from "../../../sidecar/core/region-status.ts";
import { WitnessModel } from "../../support/witness-model.ts";

const DNS = dnsKey("api.iam.example.com");
const kv = (key: string, value: string, rest: Partial<KeyValue> = {}): KeyValue => ({
  key,
  value,
  modRevision: 1,
  lease: "0",
  ...rest,
});
const recordOf = (region: string, epoch: number) =>
  kv(WITNESS_KEYS.active, JSON.stringify({ region, epoch, since: "2026-01-01T00:00:00Z" }), { lease: "7" });

describe("activity: what the witness holds", () => {
  it("is understood", () => {
    const view = witnessView(
      [kv(WITNESS_KEYS.epoch, "3", { modRevision: 9 }), recordOf("a", 3), kv(WITNESS_KEYS.last, "a"), kv(DNS, "x")],
      DNS,
    );
    assert.equal(view.broken, undefined);
    assert.deepEqual(view.epoch, { value: 3, modRevision: 9 });
    assert.equal(view.active?.region, "a");
    assert.equal(view.active?.lease, "7");
    assert.deepEqual([view.last, view.dns], ["a", "x"]);
  });

  it("is called damaged when its parts do not fit, and then nothing is claimed", () => {
    const cases: KeyValue[][] = [
      [kv(WITNESS_KEYS.epoch, "x"), kv(WITNESS_KEYS.last, "a")],
      [kv(WITNESS_KEYS.epoch, "1")],
      [kv(WITNESS_KEYS.last, "a")],
      [recordOf("a", 1)],
      [kv(WITNESS_KEYS.epoch, "2"), recordOf("a", 1), kv(WITNESS_KEYS.last, "a")],
      [kv(WITNESS_KEYS.epoch, "1"), recordOf("a", 1), kv(WITNESS_KEYS.last, "b")],
      [kv(WITNESS_KEYS.epoch, "1"), { ...recordOf("a", 1), lease: "0" }, kv(WITNESS_KEYS.last, "a")],
      [kv(WITNESS_KEYS.epoch, "1"), kv(WITNESS_KEYS.active, "{}", { lease: "7" }), kv(WITNESS_KEYS.last, "a")],
    ];
    for (const all of cases) {
      const view = witnessView(all, DNS);
      assert.ok(view.broken, JSON.stringify(all));
      const input = { region: "a", initiallyActive: true, database: "primary", systemId: "1", witness: view } as const;
      assert.equal(decideActivity(input).kind, "none");
      assert.deepEqual(
        activityProblems(input).map(({ kind }) => kind),
        ["witness-damaged"],
      );
    }
  });

  it("names the platform's name as CoreDNS looks for it", () => {
    assert.equal(DNS, "/skydns/com/example/iam/api/active");
    assert.deepEqual(JSON.parse(dnsRecord("api-a.iam.example.com", 5)), { host: "api-a.iam.example.com", ttl: 5 });
  });

  it("the platform's name is brought back by the active region alone, and only while its record is the one it read", () => {
    const dns = { key: DNS, value: "here" };
    const own = [kv(WITNESS_KEYS.epoch, "1"), recordOf("a", 1), kv(WITNESS_KEYS.last, "a")];
    const read = witnessView([...own, kv(DNS, "elsewhere")], DNS);
    assert.equal(dnsRepair(read, "b", dns), undefined);
    assert.equal(dnsRepair(witnessView([...own, kv(DNS, "here")], DNS), "a", dns), undefined);
    const repair = dnsRepair(read, "a", dns)!;
    const witness = new WitnessModel();
    witness.keys.set(WITNESS_KEYS.active, { ...recordOf("b", 2), modRevision: 2 });
    assert.equal(witness.commit(repair), false);
    witness.keys.set(WITNESS_KEYS.active, recordOf("a", 1));
    assert.equal(witness.commit(repair), true);
    assert.equal(witness.keys.get(DNS)?.value, "here");
  });

  it("is loud about a primary that is not the active region's", () => {
    const view = witnessView([kv(WITNESS_KEYS.epoch, "4"), recordOf("b", 4), kv(WITNESS_KEYS.last, "b")], DNS);
    const problems = (database: "primary" | "standby", witness = view) =>
      activityProblems({ region: "a", initiallyActive: true, database, systemId: "1", witness }).map(
        ({ kind }) => kind,
      );
    assert.deepEqual(problems("primary"), ["two-primaries"]);
    assert.deepEqual(problems("standby"), []);
    const expired = witnessView([kv(WITNESS_KEYS.epoch, "4"), kv(WITNESS_KEYS.last, "b")], DNS);
    assert.deepEqual(problems("primary", expired), ["two-primaries"]);
    assert.deepEqual(problems("standby", expired), ["nobody-active"]);
    const own = witnessView([kv(WITNESS_KEYS.epoch, "4"), recordOf("a", 4), kv(WITNESS_KEYS.last, "a")], DNS);
    assert.deepEqual(problems("standby", own), ["active-without-primary"]);
  });
});

type Step =
  | { readonly do: "read" | "act" | "restart"; readonly who: number }
  | { readonly do: "turn"; readonly who: number; readonly to: "primary" | "standby" | "starting" | "unreachable" }
  | { readonly do: "wait"; readonly seconds: number };

interface Node {
  readonly systemId: string;
  readonly region: string;
  readonly initiallyActive: boolean;
  database: DatabaseStatus["state"];
  /** What was read and decided, however long ago: acting on it comes later, or never. */
  view: WitnessView | undefined;
  action: ActivityAction | undefined;
}

const NAMES = ["a", "b", "c"];
const TTL = 10;
const who = fc.integer({ min: 0, max: NAMES.length - 1 });
const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    { weight: 5, arbitrary: fc.record({ do: fc.constant("read" as const), who }) },
    { weight: 5, arbitrary: fc.record({ do: fc.constant("act" as const), who }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant("restart" as const), who }) },
    {
      weight: 2,
      arbitrary: fc.record({
        do: fc.constant("turn" as const),
        who,
        to: fc.constantFrom(
          "primary" as const,
          "primary" as const,
          "standby" as const,
          "starting" as const,
          "unreachable" as const,
        ),
      }),
    },
    { weight: 2, arbitrary: fc.record({ do: fc.constant("wait" as const), seconds: fc.integer({ min: 1, max: 12 }) }) },
  ),
  { minLength: 40, maxLength: 160, size: "max" },
);

/** A claim's conditions one by one: each alone must be enough to refuse. */
describe("activity: a claim", () => {
  const decided = witnessView([kv(WITNESS_KEYS.epoch, "5", { modRevision: 3 }), kv(WITNESS_KEYS.last, "a")], DNS);
  const claim = claimTransaction(decided, {
    record: { region: "a", epoch: 6, since: "" },
    systemId: "1",
    lease: "1",
    dns: { key: DNS, value: "a" },
  });
  const commit = (...changes: KeyValue[]) => {
    const witness = new WitnessModel();
    witness.grant(10);
    for (const each of [kv(WITNESS_KEYS.epoch, "5", { modRevision: 3 }), kv(WITNESS_KEYS.last, "a"), ...changes])
      witness.keys.set(each.key, each);
    return witness.commit(claim);
  };

  it("holds only while nobody is active, the epoch is the one that was read, and this region was last", () => {
    assert.equal(commit(), true);
    assert.equal(commit(recordOf("b", 5)), false);
    assert.equal(commit(kv(WITNESS_KEYS.epoch, "5", { modRevision: 4 })), false);
    assert.equal(commit(kv(WITNESS_KEYS.last, "b")), false);
    assert.equal(commit(kv(WITNESS_KEYS.system, "1")), false);
  });
});

describe("activity: several controllers and one witness", () => {
  it("one record, epochs that grow with every claim, never claimed without a primary nor taken from another", () => {
    let claims = 0;
    let keeps = 0;
    fc.assert(
      fc.property(steps, fc.integer({ min: -1, max: 2 }), (all, first) => {
        const witness = new WitnessModel();
        const nodes = NAMES.map((region, i): Node => ({
          region,
          initiallyActive: i === first,
          database: "primary",
          systemId: "1",
          view: undefined,
          action: undefined,
        }));
        let epoch = 0;
        for (const step of all) {
          if (step.do === "wait") {
            witness.advance(step.seconds);
            continue;
          }
          const node = nodes[step.who]!;
          if (step.do === "turn") node.database = step.to;
          else if (step.do === "restart") node.view = node.action = undefined;
          else if (step.do === "read") {
            node.view = witnessView(witness.read(), DNS);
            node.action = decideActivity({ ...node, witness: node.view });
            if (node.action.kind === "claim") assert.equal(node.database, "primary");
          } else if (node.view && node.action) {
            const before = witnessView(witness.read(), DNS);
            if (node.action.kind === "claim") {
              const record = { region: node.region, epoch: node.action.epoch, since: "2026-01-01T00:00:00Z" };
              const dns = { key: DNS, value: dnsRecord(node.region, 5) };
              const done = witness.commit(
                claimTransaction(node.view, { record, systemId: "1", lease: witness.grant(TTL), dns }),
              );
              if (done) {
                claims++;
                assert.equal(before.active, undefined, "nobody held it");
                assert.ok(before.last === undefined ? node.initiallyActive : before.last === node.region);
                assert.ok(record.epoch > epoch, "the epoch has grown");
                epoch = record.epoch;
              }
            } else if (node.action.kind === "keep") {
              keeps++;
              const ttl = witness.keepAlive(node.action.lease);
              // A lease that lives is that of the record with this epoch: no two holders have the same token.
              if (ttl > 0) assert.equal(before.active?.epoch, node.action.epoch);
              if (ttl > 0) assert.equal(before.active?.region, node.region);
              const repair = dnsRepair(node.view, node.region, { key: DNS, value: dnsRecord(node.region, 5) });
              if (repair && witness.commit(repair)) assert.equal(before.active?.region, node.region);
            }
          }
          const view = witnessView(witness.read(), DNS);
          assert.equal(view.broken, undefined);
          assert.ok((view.epoch?.value ?? 0) === epoch);
          if (view.active) {
            assert.equal(view.active.epoch, epoch);
            assert.equal(JSON.parse(view.dns!).host, view.active.region);
          }
        }
      }),
      { numRuns: 3000 },
    );
    assert.ok(claims > 2000 && keeps > 2000, `${claims} claims and ${keeps} renewals were tried`);
  });

  it("a region takes its own activity back, under the next epoch, and nobody else's", () => {
    const view = (last: string) => witnessView([kv(WITNESS_KEYS.epoch, "5"), kv(WITNESS_KEYS.last, last)], DNS);
    const decide = (last: string, database: "primary" | "starting") =>
      decideActivity({ region: "a", initiallyActive: true, database, systemId: "1", witness: view(last) });
    assert.deepEqual([decide("a", "primary").kind, (decide("a", "primary") as { epoch: number }).epoch], ["claim", 6]);
    assert.equal(decide("a", "starting").kind, "none");
    assert.equal(decide("b", "primary").kind, "none");
  });

  it("a database that was made anew never gets activity, nor keeps it; a standby's is no database of its own", () => {
    const held = [kv(WITNESS_KEYS.epoch, "5"), kv(WITNESS_KEYS.last, "a"), kv(WITNESS_KEYS.system, "1")];
    const decide = (systemId: string | undefined, all: KeyValue[], database: "primary" | "standby" = "primary") => {
      const input = { region: "a", initiallyActive: true, database, systemId, witness: witnessView(all, DNS) };
      return [decideActivity(input).kind, ...activityProblems(input).map(({ kind }) => kind)];
    };
    assert.deepEqual(decide("1", held), ["claim", "nobody-active"]);
    assert.deepEqual(decide("2", held), ["none", "foreign-database"]);
    assert.equal(decide(undefined, held)[0], "none");
    assert.equal(decide(undefined, [])[0], "none");
    assert.deepEqual(decide("1", [recordOf("a", 5), ...held]), ["keep"]);
    assert.deepEqual(decide("2", [recordOf("a", 5), ...held]), ["none", "foreign-database"]);
    assert.deepEqual(decide("2", [recordOf("a", 5), ...held], "standby"), ["keep", "active-without-primary"]);
  });
});

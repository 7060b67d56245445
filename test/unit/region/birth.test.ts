import assert from "node:assert/strict";
import fc from "fast-check";
import { DEFAULT_LINKS } from "../../../sidecar/core/link.ts";
import {
  birth,
  SILENCE_MILLIS,
  waitsFor,
  type BirthInput,
  type PeerWord,
  type WitnessWord,
} from "../../../sidecar/core/region-birth.ts";
import type { ActiveRecord } from "../../../sidecar/core/region-status.ts";

const source = (name: string, slot: string) => ({ host: `postgresql-${name}.iam.example.com`, port: 5432, slot });
const NAMES = ["beijing", "shanghai", "shenzhen"];
const regions = (region: string) =>
  Object.fromEntries(
    NAMES.map((name, i) => [name, { priority: i + 1, initiallyActive: i === 0, source: source(name, region) }]),
  );
const record = (region: string, epoch = 1): ActiveRecord => ({ region, epoch, since: "2026-01-01T00:00:00Z" });
const peer = (region: string, changes: Partial<PeerWord> = {}): PeerWord => ({
  region,
  reachable: true,
  active: undefined,
  hasData: false,
  serves: false,
  ...changes,
});
const silent = (region: string, changes: Partial<PeerWord> = {}) => peer(region, { reachable: false, ...changes });
const input = (region: string, changes: Partial<BirthInput> = {}): BirthInput => ({
  region,
  informed: true,
  regions: regions(region),
  links: DEFAULT_LINKS,
  cluster: undefined,
  witness: { state: "told", active: undefined, last: undefined },
  peers: NAMES.filter((name) => name !== region).map((name) => silent(name)),
  ...changes,
});
const ask = (region: string, changes: Partial<BirthInput> = {}) => birth(input(region, changes));
const told = (active: string | undefined, last = active): WitnessWord => ({
  state: "told",
  active: active === undefined ? undefined : record(active),
  last,
});
const cutOff = (forMillis: number, lastKnown?: string): WitnessWord => ({ state: "unreachable", forMillis, lastKnown });
const outcome = (answer: ReturnType<typeof birth>) =>
  answer.as === "standby" ? `standby of ${answer.source.host.slice(11).split(".")[0]}` : answer.as;

describe("what an empty database becomes, rule by rule", () => {
  const cases: [string, ReturnType<typeof birth>, string][] = [
    ["0: before everybody was asked", ask("beijing", { informed: false, cluster: { as: "primary" } }), "wait"],
    ["1: a primary is there", ask("shanghai", { cluster: { as: "primary" }, witness: told("beijing") }), "primary"],
    [
      "1: a standby cluster is there, with its source",
      ask("shenzhen", { cluster: { as: "standby", source: source("shanghai", "shenzhen") }, witness: told("beijing") }),
      "standby of shanghai",
    ],
    ["2: a damaged record", ask("beijing", { witness: { state: "damaged", cause: "x" } }), "wait"],
    ["3: another region is active", ask("beijing", { witness: told("shanghai") }), "standby of shanghai"],
    ["3: another region was last", ask("beijing", { witness: told(undefined, "shanghai") }), "standby of shanghai"],
    [
      "3: the active region is silent, the next source serves",
      ask("shenzhen", {
        witness: told("beijing"),
        peers: [silent("beijing", { hasData: true }), peer("shanghai", { hasData: true, serves: true })],
      }),
      "standby of shanghai",
    ],
    ["3: nobody serves yet", ask("shenzhen", { witness: told("beijing") }), "standby of beijing"],
    [
      "4a: this region is active, its data is elsewhere",
      ask("beijing", { witness: told("beijing"), peers: [peer("shanghai", { hasData: true }), peer("shenzhen")] }),
      "wait",
    ],
    ["4a: this region is active, a peer is silent", ask("beijing", { witness: told("beijing") }), "wait"],
    [
      "4b: this region is active, and nobody has anything",
      ask("beijing", { witness: told("beijing"), peers: [peer("shanghai"), peer("shenzhen")] }),
      "primary",
    ],
    [
      "4a: a promoted region lost its data",
      ask("shanghai", { witness: told("shanghai"), peers: [peer("beijing", { hasData: true }), peer("shenzhen")] }),
      "wait",
    ],
    ["5a: data is there already", ask("beijing", { peers: [peer("shanghai", { hasData: true })] }), "wait"],
    [
      "5a: data was there when it was last heard",
      ask("beijing", { peers: [silent("shanghai", { hasData: true })] }),
      "wait",
    ],
    ["5b: the very first", ask("beijing"), "primary"],
    ["6: not the first", ask("shanghai"), "standby of beijing"],
    [
      "7: peers know the active region",
      ask("beijing", {
        witness: cutOff(9e9),
        peers: [
          peer("shanghai", { active: record("beijing", 1), hasData: true }),
          peer("shenzhen", { active: record("shanghai", 2) }),
        ],
      }),
      "standby of shanghai",
    ],
    ["7: the witness said so before", ask("beijing", { witness: cutOff(9e9, "shanghai") }), "standby of shanghai"],
    ["7: it was this one", ask("beijing", { witness: cutOff(9e9, "beijing") }), "wait"],
    ["8: a standby region alone", ask("shenzhen", { witness: cutOff(0) }), "standby of beijing"],
    [
      "9a: the first region, cut off from the witness",
      ask("beijing", { witness: cutOff(9e9), peers: [peer("shanghai", { hasData: true })] }),
      "wait",
    ],
    ["9b: not silent for long enough", ask("beijing", { witness: cutOff(SILENCE_MILLIS - 1) }), "wait"],
    ["9c: the first region comes up alone", ask("beijing", { witness: cutOff(SILENCE_MILLIS) }), "primary"],
  ];
  for (const [name, answer, expected] of cases) {
    it(`${name}: ${expected}`, () => assert.equal(outcome(answer), expected, answer.cause));
  }

  it("says what to do where it waits for a person", () => {
    const answer = ask("beijing", { witness: told("beijing"), peers: [peer("shanghai", { hasData: true })] });
    assert.match(answer.cause, /a copy in shanghai: .*promote another region, or restore beijing from a backup/);
  });

  it("streams through the slot that the source keeps for it", () => {
    const answer = ask("shenzhen", { witness: told("beijing") });
    assert.deepEqual(answer.as === "standby" && answer.source, source("beijing", "shenzhen"));
  });
});

const maybeName = fc.option(fc.constantFrom(...NAMES), { nil: undefined });
const anyWitness: fc.Arbitrary<WitnessWord> = fc.oneof(
  maybeName.map((name) => told(name)),
  fc.constantFrom(...NAMES).map((name) => told(undefined, name)),
  fc.constant<WitnessWord>({ state: "damaged", cause: "x" }),
  fc.record({
    state: fc.constant("unreachable" as const),
    forMillis: fc.integer({ min: 0, max: 20_000 }),
    lastKnown: maybeName,
  }),
);
const anyPeer = (region: string): fc.Arbitrary<PeerWord> =>
  fc.record({
    region: fc.constant(region),
    reachable: fc.boolean(),
    active: fc.option(
      fc.tuple(fc.constantFrom(...NAMES), fc.integer({ min: 1, max: 5 })).map(([name, epoch]) => record(name, epoch)),
      { nil: undefined },
    ),
    hasData: fc.boolean(),
    serves: fc.boolean(),
  });

describe("what an empty database becomes, whatever is known", () => {
  const run = (check: (answer: ReturnType<typeof birth>, input: BirthInput) => void) =>
    fc.assert(
      fc.property(
        fc.constantFrom(...NAMES).chain((region) =>
          fc.record({
            region: fc.constant(region),
            informed: fc.constant(true),
            regions: fc.constant(regions(region)),
            links: fc.constant(DEFAULT_LINKS),
            cluster: fc.constant(undefined),
            witness: anyWitness,
            peers: fc.tuple(...NAMES.filter((name) => name !== region).map(anyPeer)),
          }),
        ),
        (input) => check(birth(input), input),
      ),
      { numRuns: 5000 },
    );

  it("a second history is never begun: no primary while a peer is known to have data", () => {
    let primaries = 0;
    run((answer, { peers }) => {
      if (answer.as !== "primary") return;
      primaries++;
      assert.ok(peers.every(({ hasData }) => !hasData));
    });
    assert.ok(primaries > 50, `${primaries} primaries`);
  });

  it("no primary against the witness' word, and a standby region is one only if it had been made the active one", () => {
    run((answer, { region, witness, peers }) => {
      if (answer.as !== "primary") return;
      assert.notEqual(witness.state, "damaged");
      const word = witness.state === "told" ? (witness.active?.region ?? witness.last) : undefined;
      if (word !== undefined) assert.equal(word, region);
      if (region !== "beijing")
        assert.ok(
          word === region ||
            (witness.state === "unreachable" &&
              (witness.lastKnown === region || peers.some(({ active }) => active?.region === region))),
        );
      if (
        witness.state === "unreachable" &&
        witness.lastKnown === undefined &&
        !peers.some((p) => p.reachable && p.active)
      )
        assert.ok(witness.forMillis >= SILENCE_MILLIS);
    });
  });

  it("never a standby of itself, and always with a cause", () => {
    run((answer, { region }) => {
      assert.notEqual(answer.cause, "");
      if (answer.as === "standby") {
        assert.notEqual(answer.source.host, source(region, "").host);
        assert.equal(answer.source.slot, region);
      }
    });
  });
});

describe("a region that cannot be given a database just now", () => {
  const serving = [peer("beijing", { hasData: true, serves: true }), peer("shenzhen")];

  it("says which source does not answer", () => {
    assert.match(waitsFor(input("shanghai", { witness: told("beijing") })) ?? "", /copied from beijing.*not answer/);
    assert.match(
      waitsFor(input("shanghai", { witness: cutOff(60_000) })) ?? "",
      /nobody is known to be active.*not answer/,
    );
  });

  it("says what a person has to decide", () => {
    assert.match(waitsFor(input("beijing", { witness: told("beijing") })) ?? "", /may have a copy/);
  });

  it("has nothing to say once the source serves, for a first primary, with a database, and before all were asked", () => {
    assert.equal(waitsFor(input("shanghai", { witness: told("beijing"), peers: serving })), undefined);
    assert.equal(waitsFor(input("beijing")), undefined);
    assert.equal(
      waitsFor(input("shanghai", { witness: told("beijing"), cluster: { as: "standby", source: undefined } })),
      undefined,
    );
    assert.equal(waitsFor(input("shanghai", { informed: false })), undefined);
  });
});

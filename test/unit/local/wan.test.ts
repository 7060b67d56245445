import assert from "node:assert/strict";
import fc from "fast-check";
import { readFileSync } from "node:fs";
import { parse } from "yaml";
import { planInstance } from "../../../scripts/local/plan/instance.ts";
import { regionNames } from "../../../scripts/local/plan/regions.ts";
import {
  directions,
  directionsOf,
  parseDuration,
  parseLoss,
  parsePair,
  parseWan,
  planWan,
  wanConfig,
  wanTable,
  type WanState,
} from "../../../scripts/local/plan/wan.ts";

const FILE = new URL("../../../scripts/local/wan.yaml", import.meta.url);
const content = () =>
  parse(readFileSync(FILE, "utf8")) as { links: Record<string, { delay: string; jitter: string; loss: string }> };

describe("settings of the network between regions", () => {
  it("have a delay, a jitter and a loss for every direction, in the committed file", () => {
    const links = parseWan(content(), "wan.yaml");
    assert.deepEqual(
      links.map(({ from, to }) => [from, to]),
      directions.map(({ from, to }) => [from, to]),
    );
    const delay = (a: string, b: string) => links.find((l) => l.from === a && l.to === b)!.delayMicros;
    assert.equal(delay("beijing", "shanghai"), 14_000);
    assert.equal(delay("shanghai", "beijing"), 14_000);
    assert.ok(delay("beijing", "shenzhen") > delay("shanghai", "shenzhen"), "the farther, the longer");
    assert.ok(links.every((l) => l.loss === 0.0001 && l.jitterMicros > 0));
  });

  it("say what is wrong, where and what is allowed", () => {
    const spoilt = (change: (links: ReturnType<typeof content>["links"]) => void) => {
      const tree = content();
      change(tree.links);
      return () => parseWan(tree, "wan.yaml");
    };
    const link = { delay: "1ms", jitter: "0ms", loss: "0%" };
    assert.throws(
      spoilt((l) => (l["beijing-shanghai"]!.delay = "fast")),
      /wan\.yaml: links\.beijing-shanghai\.delay: found "fast"; write a time from 0ms to 10s/,
    );
    assert.throws(
      spoilt((l) => (l["beijing-shanghai"]!.loss = "101%")),
      /links\.beijing-shanghai\.loss: found "101%"; write a share from 0% to 100%/,
    );
    assert.throws(
      spoilt((l) => (l["beijing-shanghai"]!.jitter = "15ms")),
      /links\.beijing-shanghai\.jitter: must not be over the delay/,
    );
    assert.throws(
      spoilt((l) => (l["beijing-tokyo"] = link)),
      /links: found "beijing-tokyo"; links are beijing-shanghai, beijing-shenzhen, shanghai-shenzhen, either way round/,
    );
    assert.throws(
      spoilt((l) => (l["shanghai-beijing"] = link)),
      /links\.shanghai-beijing: this pair is there twice/,
    );
    assert.throws(
      spoilt((l) => delete l["beijing-shenzhen"]),
      /links: there is none for beijing-shenzhen/,
    );
    assert.throws(() => parseWan(null, "wan.yaml"), /wan\.yaml: /);
    assert.throws(() => parseWan({ ...content(), link: {} }, "wan.yaml"), /link/);
  });

  it("read times and shares", () => {
    assert.equal(parseDuration("250us"), 250);
    assert.equal(parseDuration("0.5s"), 500_000);
    assert.equal(parseDuration("0ms"), 0);
    for (const wrong of ["", "5", "-1ms", "11s", "1e3ms", "ms", "1 ms", "5m"])
      assert.throws(() => parseDuration(wrong), RangeError, wrong);
    assert.equal(parseLoss("0.01%"), 0.0001);
    assert.equal(parseLoss("100%"), 1);
    for (const wrong of ["", "1", "-1%", "100.1%", "%", "1 %"])
      assert.throws(() => parseLoss(wrong), RangeError, wrong);
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 10_000_000 }), (micros) => parseDuration(`${micros}us`) === micros),
    );
  });

  it("know every pair, either way round", () => {
    assert.equal(directions.length, regionNames.length * (regionNames.length - 1));
    for (const { from, to } of directions) assert.deepEqual(parsePair(`${from}-${to}`), { from, to });
    assert.throws(() => parsePair("beijing-beijing"), /links are/);
  });

  it("cut a region from all others, or one way to one", () => {
    const names = (found: readonly { from: string; to: string }[]) => found.map((d) => `${d.from}>${d.to}`).sort();
    assert.deepEqual(names(directionsOf("shenzhen")), [
      "beijing>shenzhen",
      "shanghai>shenzhen",
      "shenzhen>beijing",
      "shenzhen>shanghai",
    ]);
    assert.deepEqual(names(directionsOf("beijing", "shanghai")), ["beijing>shanghai"]);
    assert.throws(() => directionsOf("beijing", "beijing"), /beijing has no link to itself/);
  });

  it("reach the emulator with every region's networks, none in two", () => {
    const plan = planWan(planInstance({}, "unit"));
    const config = wanConfig(plan, parseWan(content(), "wan.yaml")) as {
      control: string;
      regions: { name: string; netns: string; networks: string[] }[];
      links: object[];
    };
    assert.ok(Buffer.byteLength(config.control) <= 107);
    assert.deepEqual(
      config.regions.map((r) => r.name),
      regionNames,
    );
    const networks = config.regions.flatMap((r) => r.networks);
    assert.equal(new Set(networks).size, 3 * regionNames.length);
    assert.equal(config.links.length, directions.length);
  });
});

describe("the table of the network", () => {
  const normal = { delayMicros: 14_000, jitterMicros: 1_000, loss: 0.0001, down: false };
  const link = { from: "beijing", to: "shanghai", ...normal, normal, packets: 12, bytes: 3 * 1024 ** 2 } as const;
  const dropped = { loss: 1, cut: 0, overflow: 0, away: 0 };
  const state: WanState = {
    regions: [
      { name: "beijing", attached: true },
      { name: "shanghai", attached: false },
    ],
    links: [
      { ...link, dropped },
      { ...link, from: "shanghai", to: "beijing", down: true, dropped: { ...dropped, cut: 7 } },
      { ...link, to: "shenzhen", delayMicros: 30_500, dropped },
    ],
  };

  it("shows settings, cuts, changes, what was carried and dropped, and who is away", () => {
    const lines = wanTable(state).split("\n");
    assert.match(lines[0]!, /^link +delay +jitter +loss +state +packets +MiB +lost +cut off +overflow +away$/);
    assert.match(lines[1]!, /^beijing > shanghai +14 ms +1 ms +0\.01 % +as configured +12 +3\.0 +1 +0 +0 +0$/);
    assert.match(lines[2]!, /^shanghai > beijing .* CUT .* 7 /);
    assert.match(lines[3]!, /^beijing > shenzhen +30\.5 ms .* changed /);
    assert.equal(lines.at(-1), "not running: shanghai");
  });

  it("says that all are joined", () => {
    const all = { ...state, regions: state.regions.map((r) => ({ ...r, attached: true })) };
    assert.match(wanTable(all), /all regions are joined$/);
  });
});

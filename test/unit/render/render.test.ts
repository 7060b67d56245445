import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { kubernetesObjects, maskedObjects, toYaml } from "../../../scripts/render/objects.ts";
import { makePassword, RandomState } from "../../../scripts/render/random-state.ts";
import { mergeTrees, readStackConfig } from "../../../scripts/render/stack-config.ts";
import type { RegisteredResource } from "../../../scripts/render/collect.ts";

const resource = (inputs: Record<string, unknown>, secretPaths: string[][] = []): RegisteredResource => ({
  urn: "urn:x",
  type: "kubernetes:core/v1:X",
  name: "x",
  custom: true,
  parent: "",
  provider: "",
  protect: false,
  retainOnDelete: false,
  ignoreChanges: [],
  dependencies: [],
  inputs,
  secretPaths,
});

describe("merging config", () => {
  const tree = fc.letrec<{ tree: Record<string, unknown> }>((tie) => ({
    tree: fc.dictionary(fc.constantFrom("a", "b", "c"), fc.oneof(fc.integer(), fc.array(fc.integer()), tie("tree")), {
      noNullPrototype: true,
    }),
  })).tree;

  it("keeps what the overlay does not name, and takes all that it does", () => {
    assert.deepEqual(mergeTrees({ a: { b: 1, c: [1, 2] }, d: 1 }, { a: { c: [3] } }), { a: { b: 1, c: [3] }, d: 1 });
  });

  it("changes nothing when merged with itself or with nothing, and never its arguments", () => {
    fc.assert(
      fc.property(tree, tree, (a, b) => {
        const before = JSON.stringify([a, b]);
        assert.deepEqual(mergeTrees(a, a), a);
        assert.deepEqual(mergeTrees(a, {}), a);
        assert.deepEqual(mergeTrees(mergeTrees(a, b), b), mergeTrees(a, b));
        assert.equal(JSON.stringify([a, b]), before);
      }),
    );
  });
});

describe("reading a stack's config", () => {
  let root: string;
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), "iam-ha-config-"));
    writeFileSync(
      join(root, "Pulumi.yaml"),
      "name: iam-ha\nconfig:\n  iam-ha:domain: { type: string, default: a.example }\n  iam-ha:edge: { type: object, default: {} }\n",
    );
  });
  afterEach(() => rmSync(root, { recursive: true }));

  it("lays the stack's file over the defaults and the overlays over both", () => {
    writeFileSync(join(root, "Pulumi.x.yaml"), "config:\n  iam-ha:edge: { replicas: 3, body: 1 }\n  other:key: 1\n");
    const { config } = readStackConfig("x", [{ edge: { replicas: 1 } }], root);
    assert.deepEqual(config, { "iam-ha:domain": "a.example", "iam-ha:edge": '{"replicas":1,"body":1}' });
  });

  it("refuses values that only the engine can decrypt, with their path", () => {
    writeFileSync(join(root, "Pulumi.x.yaml"), "config:\n  iam-ha:secrets: { redis: { secure: v1:abc } }\n");
    assert.throws(() => readStackConfig("x", [], root), /iam-ha:secrets\.redis in Pulumi\.x\.yaml is encrypted/);
  });

  it("says when there is no such stack", () => {
    assert.throws(() => readStackConfig("tokyo", [], root), /there is no Pulumi\.tokyo\.yaml/);
  });
});

describe("rendered objects", () => {
  it("come in an order in which they can be applied", () => {
    const kinds = kubernetesObjects(
      ["StatefulSet", "Secret", "Namespace", "Service"].map((kind) => resource({ kind })),
    ).map((o) => o.kind);
    assert.deepEqual(kinds, ["Namespace", "Secret", "Service", "StatefulSet"]);
  });

  it("show no secret: neither marked values nor anything in a Secret", () => {
    const text = toYaml(
      maskedObjects([
        resource({ kind: "ConfigMap", metadata: { name: "c" }, data: { open: "yes", hidden: "p4ss" } }, [
          ["data", "hidden"],
        ]),
        resource({ kind: "Secret", metadata: { name: "s" }, stringData: { password: "p4ss", "tls.key": "p4ss" } }),
        resource({ kind: "Deployment", metadata: { name: "d" }, spec: { list: [{ value: "p4ss" }] } }, [
          ["spec", "list", "0"],
        ]),
      ]),
    );
    assert.doesNotMatch(text, /p4ss/);
    assert.match(text, /open: yes/);
    assert.match(text, /tls\.key: \(secret\)/);
  });
});

describe("what random makes without the engine", () => {
  let folder: string;
  beforeEach(() => (folder = mkdtempSync(join(tmpdir(), "iam-ha-random-"))));
  afterEach(() => rmSync(folder, { recursive: true }));
  const TYPE = "random:index/randomPassword:RandomPassword";

  it("is made once, kept privately, and found again", () => {
    const file = join(folder, "state", "beijing.json");
    const first = new RandomState(file).compute(TYPE, "redis", { length: 32, special: false });
    const again = new RandomState(file).compute(TYPE, "redis", { length: 32, special: false });
    assert.deepEqual(again, first);
    assert.match(String(first?.["result"]), /^[A-Za-z0-9]{32}$/);
    assert.equal(statSync(file).mode & 0o777, 0o600);
    assert.notDeepEqual(new RandomState(file).compute(TYPE, "other", { length: 32, special: false }), first);
  });

  it("keeps its mode where a file of another mode was there", () => {
    mkdirSync(join(folder, "state"));
    writeFileSync(join(folder, "state", "x.json"), "{}", { mode: 0o644 });
    new RandomState(join(folder, "state", "x.json")).compute(TYPE, "a", { length: 8, special: false });
    assert.equal(statSync(join(folder, "state", "x.json")).mode & 0o777, 0o600);
    assert.equal(Object.keys(JSON.parse(readFileSync(join(folder, "state", "x.json"), "utf8")) as object).length, 1);
  });

  it("refuses what it would get wrong", () => {
    const state = new RandomState(join(folder, "x.json"));
    assert.throws(
      () => state.compute("random:index/randomId:RandomId", "a", {}),
      /is not supported without the engine/,
    );
    assert.throws(() => state.compute(TYPE, "a", { length: 8 }), /only passwords with special: false/);
    assert.equal(state.compute("kubernetes:core/v1:Secret", "a", {}), undefined);
  });

  it("has the length that was asked for", () => {
    fc.assert(fc.property(fc.integer({ min: 1, max: 64 }), (length) => makePassword(length).length === length));
  });
});

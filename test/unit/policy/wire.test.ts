import assert from "node:assert/strict";
import fc from "fast-check";
import { providersOf, stackResource, toStruct, toWire } from "../../../scripts/policy/wire.ts";
import { SECRET, SIGNATURE, UNKNOWN, unwrap, type RegisteredResource } from "../../../scripts/render/collect.ts";

const resource: RegisteredResource = {
  urn: "urn:pulumi:beijing::iam-ha::kubernetes:core/v1:Secret::one",
  type: "kubernetes:core/v1:Secret",
  name: "one",
  custom: true,
  parent: "urn:pulumi:beijing::iam-ha::pulumi:pulumi:Stack::iam-ha-beijing",
  provider: "urn:pulumi:beijing::iam-ha::pulumi:providers:kubernetes::beijing::id",
  protect: true,
  retainOnDelete: false,
  ignoreChanges: ["data"],
  dependencies: ["urn:other"],
  inputs: {},
  secretPaths: [],
};

describe("wire format of a resource", () => {
  it("marks secrets where they were, also within others, and lets unknown values be", () => {
    const props = { a: { b: ["x", UNKNOWN], c: 1 }, d: { e: { f: "y" } } };
    assert.deepEqual(toWire(props, [["a", "b", "1"], ["d"], ["d", "e"]]), {
      a: { b: ["x", { [SIGNATURE]: SECRET, value: UNKNOWN }], c: 1 },
      d: { [SIGNATURE]: SECRET, value: { e: { [SIGNATURE]: SECRET, value: { f: "y" } } } },
    });
  });

  it("comes back as it was, over the bytes of a message", () => {
    const key = fc.stringMatching(/^[a-z]{1,3}$/);
    const leaf = fc.oneof(
      fc.string(),
      // JSON, which the expected value goes through, knows no -0.
      fc.double({ noNaN: true, noDefaultInfinity: true }).map((value) => value + 0),
      fc.boolean(),
      fc.constant(null),
    );
    const { tree } = fc.letrec((tie) => ({
      tree: fc.oneof(
        { maxDepth: 4 },
        leaf,
        fc.array(tie("tree"), { maxLength: 3 }),
        fc.dictionary(key, tie("tree"), { maxKeys: 3 }),
      ),
    }));
    fc.assert(
      fc.property(fc.dictionary(key, tree, { maxKeys: 4 }), fc.infiniteStream(fc.boolean()), (props, coins) => {
        const secretPaths = pathsOf(props).filter(() => coins.next().value);
        const found: string[][] = [];
        const back = unwrap(toStruct(toWire(props, secretPaths)).toJavaScript(), [], found);
        assert.deepEqual(back, JSON.parse(JSON.stringify(props)));
        assert.deepEqual(found.sort(), [...secretPaths].sort());
      }),
    );
  });

  it("leaves out what is not set, and what a provider keeps for itself", () => {
    const props = { a: undefined, b: [undefined], __inputs: { c: 1 }, d: { __e: 2 } };
    assert.deepEqual(toWire(props, []), { b: [null], d: { __e: 2 } });
    assert.deepEqual(toWire(props, [], { internal: true }), { b: [null], __inputs: { c: 1 }, d: { __e: 2 } });
  });

  it("tells options, parent, dependencies and the provider with its own secrets", () => {
    const provider: RegisteredResource = {
      ...resource,
      urn: "urn:pulumi:beijing::iam-ha::pulumi:providers:kubernetes::beijing",
      provider: "",
      inputs: { kubeconfig: "text" },
      secretPaths: [["kubeconfig"]],
    };
    const named = { ...resource, provider: `${provider.urn}::id` };
    const message = stackResource(named, providersOf([provider, named])(named)).toObject();
    assert.equal(message.options?.protect, true);
    assert.deepEqual(message.options?.ignorechangesList, ["data"]);
    assert.equal(message.options?.parent, resource.parent);
    assert.equal(message.options?.deletebeforereplacedefined, false);
    assert.equal(message.parent, resource.parent);
    assert.deepEqual(message.dependenciesList, ["urn:other"]);
    assert.equal(message.provider?.urn, provider.urn);
    assert.match(JSON.stringify(message.provider?.properties), new RegExp(SECRET));
    assert.equal(providersOf([provider])(provider), undefined);
    assert.deepEqual(providersOf([])(named), {
      urn: provider.urn,
      type: "pulumi:providers:kubernetes",
      name: "beijing",
      inputs: {},
      secretPaths: [],
    });
  });
});

function pathsOf(value: unknown, path: readonly string[] = []): string[][] {
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([key, item]) => [[...path, key], ...pathsOf(item, [...path, key])]);
}

import assert from "node:assert/strict";
import { schemasOf } from "../../../scripts/scanners/schemas.ts";

const gvk = (group: string, version: string, kind: string) => ({
  "x-kubernetes-group-version-kind": [{ group, version, kind }],
});
const ref = (name: string) => ({ $ref: `#/definitions/${name}` });
const QUANTITY = "io.k8s.apimachinery.pkg.api.resource.Quantity";

describe("schemas from an OpenAPI document", () => {
  const definitions = {
    Meta: { type: "object", properties: { name: { type: "string", description: "a name" } } },
    Spec: {
      type: "object",
      required: ["size"],
      properties: {
        size: ref(QUANTITY),
        labels: { type: "object", additionalProperties: { type: "string" } },
        more: { type: "array", items: ref("Spec") },
      },
    },
    [QUANTITY]: { type: "string" },
    Unused: { type: "object", properties: {} },
    Thing: { ...gvk("a.example.com", "v1", "Thing"), properties: { metadata: ref("Meta"), spec: ref("Spec") } },
    Old: { ...gvk("", "v1", "Old"), properties: { metadata: ref("Meta") } },
    Options: { ...gvk("", "v1", "Options"), properties: { force: { type: "boolean" } } },
  };
  const files = schemasOf({ definitions });

  it("has a file for each kind of object, under the name that kubeconform asks for", () => {
    assert.deepEqual(Object.keys(files).sort(), ["old-v1.json", "thing-a-v1.json"]);
  });

  it("holds all that a kind refers to, also what refers to itself, and nothing else", () => {
    const { definitions: own } = files["thing-a-v1.json"] as { definitions: object };
    assert.deepEqual(Object.keys(own).sort(), ["Meta", "Spec", "Thing", QUANTITY].sort());
  });

  it("forbids fields that are not described, but for maps; takes a quantity as a number too; drops descriptions", () => {
    const { definitions: own, ...top } = files["thing-a-v1.json"] as { definitions: Record<string, object> };
    assert.deepEqual(own["Spec"], {
      type: "object",
      required: ["size"],
      properties: {
        size: ref(QUANTITY),
        labels: { type: "object", additionalProperties: { type: "string" } },
        more: { type: "array", items: ref("Spec") },
      },
      additionalProperties: false,
    });
    assert.deepEqual(own[QUANTITY], { type: ["string", "number"] });
    assert.deepEqual(own["Meta"], {
      type: "object",
      properties: { name: { type: "string" } },
      additionalProperties: false,
    });
    assert.deepEqual(top, {
      ...ref("Thing"),
      properties: { apiVersion: { const: "a.example.com/v1" }, kind: { const: "Thing" } },
      required: ["apiVersion", "kind", "metadata"],
    });
  });

  it("does not pass for what cannot be read: no definitions, a reference into nothing", () => {
    assert.throws(() => schemasOf({}), /no definitions/);
    assert.throws(
      () => schemasOf({ definitions: { A: { ...gvk("", "v1", "A"), properties: { metadata: ref("Gone") } } } }),
      /no definition Gone/,
    );
  });
});

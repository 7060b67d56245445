import assert from "node:assert/strict";
import fc from "fast-check";
import { parse } from "yaml";
import { diffObject, diffObjects, type FieldChange } from "../../../scripts/preview/diff.ts";
import { fieldLines } from "../../../scripts/preview/describe.ts";
import { applyChanges, pathText } from "../../../scripts/preview/paths.ts";
import type { KubernetesObject } from "../../../scripts/render/objects.ts";
import { anyVersions } from "./arbitrary.ts";
import { changed } from "./real.ts";

/** An object without what has no meaning: the order of keys, the order of sets, how a file is written. */
function meaning(value: unknown, name = "", inPod = false, inFile = false): unknown {
  if (Array.isArray(value)) {
    const items = value.map((item) => meaning(item, "", inPod, inFile));
    const ordered = inPod || inFile || !["ingress", "from", "ports", "policyTypes"].includes(name);
    return ordered ? items : items.sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));
  }
  if (typeof value === "string" && /\.(json|yaml)$/.test(name)) return meaning(parse(value), "", false, true);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, item]) => [key, meaning(item, key, inPod || (!inFile && key === "template"), inFile)]),
  );
}

/** The same with keys of maps and items of lists in another order. */
function turned(value: unknown, lists: boolean): unknown {
  if (Array.isArray(value)) {
    const items = value.map((item) => turned(item, lists));
    return lists ? items.reverse() : items;
  }
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .map(([key, item]) => [key, turned(item, lists)] as const)
      .reverse(),
  );
}

describe("difference of two objects", () => {
  it("of the same is empty", () => {
    fc.assert(fc.property(anyVersions(1), ([a]) => assert.deepEqual(diffObject(a!, structuredClone(a!)), [])));
  });

  it("is all that there is between them: made in the one, it gives the other", () => {
    fc.assert(
      fc.property(anyVersions(2), ([a, b]) => {
        const made = applyChanges(a!, diffObject(a!, b!));
        assert.deepEqual(meaning(made), meaning(b));
      }),
      { numRuns: 300 },
    );
  });

  it("is empty only where they mean the same", () => {
    fc.assert(
      fc.property(anyVersions(2), ([a, b]) => {
        const same = JSON.stringify(meaning(a)) === JSON.stringify(meaning(b));
        // How a file is written is told too: pods may be rolled for it.
        const sameText = JSON.stringify(a!["data"]) === JSON.stringify(b!["data"]);
        assert.equal(diffObject(a!, b!).length === 0, same && (sameText || a!.kind !== "ConfigMap"));
      }),
      { numRuns: 300 },
    );
  });

  it("does not depend on the order of keys; nor on that of lists, outside of pods", () => {
    fc.assert(
      fc.property(anyVersions(2), ([a, b]) => {
        assert.deepEqual(diffObject(a!, turned(a, false) as KubernetesObject), []);
        const apart = (object: KubernetesObject) => turned(object, object.kind !== "Deployment") as KubernetesObject;
        assert.deepEqual(diffObject(a!, apart(a!)), []);
        const paths = (changes: readonly FieldChange[]) =>
          changes.map(({ path, kind }) => `${kind} ${pathText(path)}`).sort();
        assert.deepEqual(paths(diffObject(apart(a!), b!)), paths(diffObject(a!, b!)));
      }),
    );
  });

  it("tells in a pod's template that only the order of items has changed: it makes new pods", async () => {
    const { changes } = await changed((stack) =>
      (stack.object("StatefulSet", "postgresql-beijing")["spec"].template.spec.volumes as unknown[]).reverse(),
    );
    assert.equal(changes.length, 1);
    assert.deepEqual(
      changes[0]!.fields.map(({ path, kind }) => [pathText(path), kind]),
      [["spec.template.spec.volumes", "reordered"]],
    );
  });

  it("names a container's variable by its keys and shows both values", async () => {
    const { changes } = await changed((stack) => {
      const [nginx] = stack.object("Deployment", "edge")["spec"].template.spec.containers;
      nginx.env = (nginx.env as { name: string }[]).map((one) =>
        one.name === "EDGE_DRAIN_SECONDS" ? { ...one, value: "1" } : one,
      );
    });
    const lines = changes
      .flatMap(({ fields }) => fields.flatMap(fieldLines))
      .map(({ sign, text }) => `${sign} ${text}`);
    assert.equal(lines.length, 2);
    assert.match(lines[0]!, /^- spec\.template\.spec\.containers\[nginx\]\.env\[EDGE_DRAIN_SECONDS\]\.value: "\d+"$/);
    assert.match(lines[1]!, /^\+ .*\.value: "1"$/);
  });

  it("reads JSON and YAML files field by field, and other files line by line", async () => {
    const { changes } = await changed((stack) => {
      stack.json("region-controller", "region.json", (file) => (file.monitor.maxErrors = 9));
      stack.file("pgbouncer-config", "pgbouncer.ini", (text) =>
        text.replace("pool_mode = transaction", "pool_mode = session"),
      );
    });
    const lines = changes.flatMap(({ fields }) => fields.flatMap(fieldLines)).map(({ sign, text }) => `${sign}${text}`);
    assert.ok(lines.includes('+data["region.json"].monitor.maxErrors: 9'), lines.join("\n"));
    assert.ok(lines.includes("-  pool_mode = transaction"), lines.join("\n"));
    assert.ok(lines.includes("+  pool_mode = session"));
    assert.ok(lines.length < 16, "only what is near is shown");
  });

  it("leaves out what the API server and tools write", () => {
    const object: KubernetesObject = {
      apiVersion: "v1",
      kind: "Service",
      metadata: { name: "a", namespace: "iam" },
      spec: { type: "ClusterIP" },
    };
    const live = {
      ...object,
      metadata: {
        ...object.metadata,
        uid: "1",
        resourceVersion: "7",
        generation: 3,
        creationTimestamp: "now",
        managedFields: [{}],
        labels: { "applyset.kubernetes.io/part-of": "x" },
        annotations: { "kubectl.kubernetes.io/last-applied-configuration": "{}" },
      },
      status: { loadBalancer: {} },
    } as KubernetesObject;
    assert.deepEqual(diffObjects([live], [object]), []);
  });

  it("knows objects by group, kind, namespace and name, not by their version", () => {
    const at = (apiVersion: string, namespace: string): KubernetesObject => ({
      apiVersion,
      kind: "PodDisruptionBudget",
      metadata: { name: "a", namespace },
    });
    const changes = diffObjects(
      [at("policy/v1beta1", "x"), at("policy/v1", "y")],
      [at("policy/v1", "x"), at("policy/v1", "z")],
    );
    assert.deepEqual(
      changes.map(({ id, action }) => [id.namespace, action]),
      [
        ["x", "changed"],
        ["y", "deleted"],
        ["z", "created"],
      ],
    );
  });
});

import assert from "node:assert/strict";
import { makePreviews } from "../../scripts/commands/preview.ts";
import { pathText } from "../../scripts/preview/paths.ts";
import { isFailed, type RegionPreview } from "../../scripts/preview/preview.ts";
import { previewText } from "../../scripts/preview/text.ts";
import { applyObjects } from "../../scripts/render/apply.ts";
import { accessTo } from "../../scripts/start/access.ts";
import { applySet, renderPlace } from "../../scripts/start/render-place.ts";
import { buildImages } from "../../scripts/images/index.ts";
import { INSTANCE, kubectl, kubectlJson, place } from "./region.ts";

/** What of the region's objects an apply would touch. */
async function versions(): Promise<Record<string, string>> {
  const kinds =
    "configmaps,secrets,services,deployments.apps,statefulsets.apps,networkpolicies.networking.k8s.io,roles,rolebindings,serviceaccounts,poddisruptionbudgets";
  const { items } = await kubectlJson<{
    items: { kind: string; metadata: { name: string; uid: string; generation?: number } }[];
  }>(["get", kinds]);
  return Object.fromEntries(
    items.map(({ kind, metadata }) => [
      `${kind}/${metadata.name}`,
      JSON.stringify([metadata.uid, metadata.generation]),
    ]),
  );
}

async function look(regions: readonly string[] = ["beijing"]): Promise<RegionPreview> {
  const previews = await makePreviews(
    { regions, against: "live", instance: INSTANCE, unlock: [] },
    AbortSignal.timeout(180_000),
  );
  const [preview] = previews;
  assert.ok(preview && !isFailed(preview), previewText(previews, false));
  return preview;
}

const told = ({ changes }: RegionPreview) =>
  changes.map(({ id, action, fields }) =>
    `${action} ${id.kind}/${id.name} ${fields.map(({ path }) => pathText(path)).join(" ")}`.trim(),
  );

/** Puts back what a test has changed, by the apply that the preview is of. */
async function putBack(): Promise<void> {
  const where = place();
  await applyObjects(accessTo(where), await renderPlace(INSTANCE, await buildImages(), where), applySet(where));
}

describe("preview of a running region", function () {
  this.timeout(240_000);
  // A budget for something that there is little of is what a test may safely change.
  const BUDGET = "poddisruptionbudget/pgbouncer";

  before(putBack);
  after(putBack);

  it("shows no change right after a start, and applies nothing", async () => {
    const before = await versions();
    const preview = await look();
    assert.deepEqual(told(preview), []);
    assert.deepEqual([preview.refused, preview.unsafe], [[], []]);
    assert.deepEqual(await versions(), before);
  });

  it("shows exactly what somebody has changed, and leaves it as it is", async () => {
    await kubectl(["patch", BUDGET, "--type=merge", "-p", '{"spec":{"maxUnavailable":2}}']);
    const preview = await look();
    assert.deepEqual(told(preview), ["changed PodDisruptionBudget/pgbouncer spec.maxUnavailable"]);
    assert.deepEqual(
      preview.changes[0]!.fields.map(({ before, after }) => [before, after]),
      [[2, 1]],
    );
    assert.deepEqual(
      preview.effects.map(({ kind }) => kind),
      ["nothing"],
    );
    const budget = await kubectlJson<{ spec: { maxUnavailable: number } }>(["get", BUDGET]);
    assert.equal(budget.spec.maxUnavailable, 2);
  });

  it("shows an object that was deleted as created, and makes none", async () => {
    await putBack();
    await kubectl(["delete", BUDGET]);
    assert.deepEqual(told(await look()), ["created PodDisruptionBudget/pgbouncer"]);
    assert.equal((await kubectl(["get", BUDGET, "--ignore-not-found"])).trim(), "");
  });

  it("shows a secret that differs as changed, and not what it is", async () => {
    await putBack();
    const strange = "a-value-that-nobody-may-see";
    const secret = await kubectlJson<{ metadata: object; data: Record<string, string> }>([
      "get",
      "secret",
      "region-controller-shared",
    ]);
    const old = secret.data["apiAdmin"]!;
    // Over standard input: an argument would show it to every process of the machine.
    const set = (value: string) => {
      const metadata = { ...secret.metadata, resourceVersion: undefined };
      const changed = { ...secret, metadata, data: { ...secret.data, apiAdmin: value } };
      return kubectl(["replace", "-f", "-"], { stdin: JSON.stringify(changed) });
    };
    await set(Buffer.from(strange).toString("base64"));
    try {
      const preview = await look();
      assert.deepEqual(told(preview), ["changed Secret/region-controller-shared data.apiAdmin"]);
      const text = previewText([preview], false);
      assert.match(text, /data\.apiAdmin: \(secret\) changed/);
      for (const value of [strange, Buffer.from(strange).toString("base64"), old]) assert.ok(!text.includes(value));
    } finally {
      await set(old);
    }
  });

  it("says of a region that does not answer that it could not be told", async () => {
    const previews = await makePreviews(
      {
        regions: ["beijing"],
        against: "live",
        contexts: { beijing: "no-such-context" },
        instance: INSTANCE,
        unlock: [],
      },
      AbortSignal.timeout(120_000),
    );
    assert.ok(previews.every(isFailed));
    assert.match(previewText(previews, false), /cluster no-such-context: could not be previewed\n/);
  });
});

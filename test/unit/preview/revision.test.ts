import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { compare } from "../../../scripts/preview/preview.ts";
import { againstRevision, parseObjects } from "../../../scripts/preview/revision.ts";
import { unlockedIn } from "../../../scripts/preview/unlock.ts";
import type { KubernetesObject } from "../../../scripts/render/objects.ts";
import { toYaml } from "../../../scripts/render/objects.ts";

describe("preview against a revision", () => {
  let root: string;
  const git = (...args: string[]) =>
    execFileSync("git", ["-C", root, "-c", "user.name=t", "-c", "user.email=t@example.com", ...args], {
      stdio: "pipe",
    });
  const object = (value: string): KubernetesObject => ({
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: { name: "a", namespace: "iam" },
    data: { f: value },
  });
  const write = (text: string) => {
    mkdirSync(join(root, "test/stacks/goldens"), { recursive: true });
    writeFileSync(join(root, "test/stacks/goldens/beijing.yaml"), text);
  };

  before(() => {
    root = mkdtempSync(join(tmpdir(), "iam-ha-preview-"));
    git("init", "-q", "-b", "main");
    writeFileSync(join(root, "README.md"), "x");
    git("add", ".");
    git("commit", "-qm", "empty");
    git("tag", "empty");
    write(toYaml([object("old")]));
    git("add", ".");
    git("commit", "-qm", "golden");
    git("tag", "first");
    write("a: [");
    git("commit", "-qam", "broken");
    git("tag", "broken");
  });
  after(() => rmSync(root, { recursive: true, force: true }));

  const look = async (revision: string) =>
    compare("beijing", await againstRevision("beijing", revision, [object("new")], { root }), {
      unlocked: [],
      findings: [],
    });

  it("compares with the golden of then, whatever the files are now", async () => {
    const { changes, against } = await look("first");
    assert.deepEqual(
      changes[0]!.fields.map(({ before, after }) => [before, after]),
      [["old", "new"]],
    );
    assert.match(against, /^first \([0-9a-f]{10}\)$/);
    assert.deepEqual((await look("HEAD~1")).changes.length, 1);
  });

  it("counts everything as new where there was no golden, and says so", async () => {
    const { changes, notes } = await look("empty");
    assert.deepEqual(
      changes.map(({ action }) => action),
      ["created"],
    );
    assert.match(notes[0]!, /empty has no test\/stacks\/goldens\/beijing.yaml/);
  });

  it("fails for what is no revision, and for a golden that cannot be read", async () => {
    await assert.rejects(look("nowhere"), /there is no revision "nowhere"/);
    for (const found of ["--help", "first:README.md"]) await assert.rejects(look(found), /which is no revision/);
    await assert.rejects(look("broken"), /broken:test\/stacks\/goldens\/beijing.yaml, document 1/);
    assert.throws(() => parseObjects("kind: A\n", "x"), /x, document 1: found no Kubernetes object/);
  });
});

describe("unlocks in the policies' configuration", () => {
  const config = (properties: Record<string, unknown>) => ({ "data-protected": { properties } });

  it("are the names under the rule that protects data", () => {
    assert.deepEqual(unlockedIn(config({ unlocked: ["Namespace/iam"] })), ["Namespace/iam"]);
    for (const none of [{}, config({})]) assert.deepEqual(unlockedIn(none), []);
    for (const wrong of ["all", [1], {}])
      assert.throws(
        () => unlockedIn(config({ unlocked: wrong })),
        /data-protected\.unlocked: found .*; give a list of names/,
      );
  });
});

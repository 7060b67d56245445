import assert from "node:assert/strict";
import fc from "fast-check";
import { summaryOf } from "../../../scripts/preview/describe.ts";
import { previewJson } from "../../../scripts/preview/json.ts";
import { commentMarker, LONGEST_COMMENT, previewMarkdown } from "../../../scripts/preview/markdown.ts";
import {
  compare,
  exitStatus,
  type PolicyFinding,
  type RegionPreview,
  type StackPreview,
} from "../../../scripts/preview/preview.ts";
import { KnownSecrets } from "../../../scripts/preview/secrets.ts";
import { previewText } from "../../../scripts/preview/text.ts";
import { maskedObjects } from "../../../scripts/render/objects.ts";
import { ChangedStack, realStack } from "../../policies/stack.ts";
import { anyVersions } from "./arbitrary.ts";

const finding = (level: string): PolicyFinding => ({
  rule: "pool-size",
  level,
  object: "ConfigMap/pgbouncer-config",
  message: "found 101; at most 100 is allowed",
  remediation: "Set iam-ha:pooler.write",
});

async function previewOf(
  change: (stack: ChangedStack) => void,
  options: { unlocked?: string[]; findings?: PolicyFinding[]; error?: string } = {},
): Promise<RegionPreview> {
  const stack = new ChangedStack(await realStack("beijing"));
  change(stack);
  const comparison = {
    against: "main (0123456789)",
    before: maskedObjects(await realStack("beijing")),
    after: maskedObjects(stack.resources),
    secrets: new KnownSecrets(),
    refused: [],
    notes: [],
  };
  const { unlocked = [], findings = [], error } = options;
  return compare("beijing", comparison, { unlocked, ...(error === undefined ? { findings } : { error }) });
}

const nothing = () => {};
const image = (stack: ChangedStack) =>
  (stack.object("StatefulSet", "postgresql-beijing")["spec"].template.spec.containers[0].image = "other");
const gone = (stack: ChangedStack) => stack.remove("StatefulSet", "postgresql-beijing");
const moved = (stack: ChangedStack) =>
  stack.json("region-controller", "region.json", (file) => (file.role = "standby"));

describe("summary and exit status of a preview", () => {
  const failed: StackPreview = { stack: "shanghai", against: "cluster x", error: "the API server does not answer" };

  it("counts, and names what must not be overlooked", async () => {
    assert.equal(summaryOf(await previewOf(nothing)), "no change");
    assert.equal(summaryOf(await previewOf(image)), "1 changed; restarts the database");
    assert.equal(summaryOf(await previewOf(gone)), "1 deleted; stops the database");
    const replaced = await previewOf(
      (stack) => (stack.object("StatefulSet", "postgresql-beijing")["spec"].serviceName = "other"),
    );
    assert.equal(summaryOf(replaced), "1 replaced; stops the database; replaces an object");
    assert.equal(summaryOf(failed), "could not be previewed");
  });

  for (const [what, status, make] of [
    ["no change", 0, () => previewOf(nothing)],
    ["a restart of the database", 0, () => previewOf(image)],
    ["an advisory finding", 0, () => previewOf(nothing, { findings: [finding("advisory")] })],
    ["a violated policy", 1, () => previewOf(nothing, { findings: [finding("mandatory")] })],
    ["the database deleted", 1, () => previewOf(gone)],
    ["the same, unlocked", 0, () => previewOf(gone, { unlocked: ["StatefulSet/postgresql-beijing"] })],
    [
      "the same, with another one unlocked",
      1,
      () => previewOf(gone, { unlocked: ["StatefulSet/redis-beijing", "ActiveRegion/beijing"] }),
    ],
    ["another active region", 1, () => previewOf(moved)],
    ["the same, unlocked", 0, () => previewOf(moved, { unlocked: ["ActiveRegion/beijing"] })],
    ["policies that could not run", 2, () => previewOf(nothing, { error: "the analyzer died" })],
  ] as const) {
    it(`${status} for ${what}`, async () => assert.equal(exitStatus([await make()]), status));
  }

  it("2 where one region of several could not be told, and 1 for one of several that is unsafe", async () => {
    assert.equal(exitStatus([await previewOf(nothing), failed]), 2);
    assert.equal(exitStatus([await previewOf(gone), failed]), 2);
    assert.equal(exitStatus([await previewOf(nothing), await previewOf(gone)]), 1);
  });

  it("never shows a region that failed as one without changes", () => {
    for (const output of [previewText([failed], false), previewMarkdown([failed]), previewJson([failed])]) {
      assert.match(output, /does not answer/);
      assert.doesNotMatch(output, /no change/);
    }
  });
});

describe("preview in Markdown", () => {
  it("begins with the marker, then the summary; folds the details; lists policies and unlocks", async () => {
    const text = previewMarkdown([await previewOf(gone, { findings: [finding("mandatory")] })]);
    const [first, second] = text.split("\n");
    assert.equal(first, commentMarker("beijing"));
    assert.equal(first, "<!-- iam-ha preview beijing -->");
    assert.match(second!, /^### ⛔ beijing: 1 deleted; stops the database$/);
    assert.match(
      text,
      /> - StatefulSet\/postgresql-beijing would be deleted: .*`--unlock StatefulSet\/postgresql-beijing` allows it/,
    );
    assert.match(text, /Policies: \*\*1 violated\*\*/);
    assert.match(text, /<details><summary>1 object, field by field<\/summary>/);
    assert.equal(text.match(/<details>/g)!.length, text.match(/<\/details>/g)!.length);
  });

  it("is never over the limit, whole in its folds and fences, and says what it leaves out", () => {
    fc.assert(
      fc.property(
        fc.array(anyVersions(2), { minLength: 1, maxLength: 8 }),
        fc.integer({ min: 1, max: 15 }),
        fc.integer({ min: 4_000, max: 9_000 }),
        (pairs, times, limit) => {
          const side = (at: number) =>
            Array.from({ length: times }, (_, i) =>
              pairs.map((pair, j) => ({ ...pair[at]!, metadata: { ...pair[at]!.metadata, name: `it-${i}-${j}` } })),
            ).flat();
          const comparison = {
            against: "x",
            before: side(0),
            after: side(1),
            secrets: new KnownSecrets(),
            refused: [],
            notes: [],
          };
          const preview = compare("beijing", comparison, { unlocked: [], findings: [] });
          const text = previewMarkdown([preview], limit);
          assert.ok(text.length <= limit, `${text.length} > ${limit}`);
          assert.ok(text.startsWith(commentMarker("beijing")));
          const shown = preview.changes.filter(({ id }) => text.includes(id.name)).length;
          if (shown < preview.changes.length) assert.match(text, /left out|more/);
          if (!text.includes("the rest is left out"))
            assert.equal((text.match(/<details>/g) ?? []).length, (text.match(/<\/details>/g) ?? []).length);
        },
      ),
      { numRuns: 25 },
    );
  });

  it("stays within GitHub's limit for everything of a region deleted, and for a huge file", async () => {
    const all = compare(
      "beijing",
      {
        against: "x",
        before: maskedObjects(await realStack("beijing")),
        after: [],
        secrets: new KnownSecrets(),
        refused: [],
        notes: [],
      },
      { unlocked: [], findings: Array.from({ length: 500 }, () => finding("mandatory")) },
    );
    const huge = await previewOf((stack) =>
      stack.file("edge", "proxy.conf", () => `${"line of a file\n".repeat(20_000)}`),
    );
    for (const previews of [[all], [huge], [all, huge, all]]) {
      const text = previewMarkdown(previews);
      assert.ok(text.length <= LONGEST_COMMENT, String(text.length));
    }
    assert.match(previewMarkdown([huge]), /more lines are left out/);
  });

  it("lets no text of the stack be markup: no mention, no tag, no end of a fence", async () => {
    const evil = "```\n</details>\n@everyone <img src=x> | a";
    const preview = await previewOf((stack) => stack.file("edge", "proxy.conf", (text) => `${text}${evil}`), {
      findings: [{ ...finding("mandatory"), message: evil }],
    });
    const text = previewMarkdown([preview]);
    const outside = text.replaceAll(/^(`{3,})diff\n[\s\S]*?\n\1$/gm, "");
    assert.doesNotMatch(outside, /@everyone|<img/);
    assert.equal(outside.match(/<\/details>/g)!.length, 1);
  });
});

describe("preview in JSON", () => {
  it("has every change with its fields and effects", async () => {
    const { stacks } = JSON.parse(previewJson([await previewOf(image)])) as { stacks: [Record<string, never>] };
    assert.deepEqual(stacks[0]["counts"], { created: 0, changed: 1, replaced: 0, deleted: 0 });
    assert.equal(stacks[0]["safe"], true);
    const [change] = stacks[0]["changes"] as unknown as {
      name: string;
      fields: object[];
      effects: { kind: string }[];
    }[];
    assert.equal(change!.name, "postgresql-beijing");
    assert.deepEqual(change!.fields[0], {
      path: "spec.template.spec.containers[postgres].image",
      kind: "changed",
      before: "registry.example.com/iam-ha/postgres:0.1.0",
      after: "other",
    });
    assert.equal(change!.effects[0]!.kind, "restarts-database");
  });
});

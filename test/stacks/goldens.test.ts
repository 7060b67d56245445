import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { ROOT } from "../../scripts/paths.ts";
import { GOLDENS, goldenFile, goldenText } from "../../scripts/render/goldens.ts";

describe("what the program renders is what the goldens say", () => {
  for (const golden of GOLDENS) {
    it(goldenFile(golden), async () => {
      const rendered = (await goldenText(golden)).split("\n");
      const kept = readFileSync(join(ROOT, goldenFile(golden)), "utf8").split("\n");
      const at = rendered.findIndex((line, i) => line !== kept[i]);
      const differs = at >= 0 || rendered.length !== kept.length;
      assert.ok(
        !differs,
        `differs from line ${at + 1} on: "${kept[at] ?? "(end)"}" is now "${rendered[at] ?? "(end)"}"; if that is meant, run \`npm run goldens\``,
      );
    });
  }

  it("and no golden shows a secret", () => {
    for (const golden of GOLDENS) {
      const text = readFileSync(join(ROOT, goldenFile(golden)), "utf8");
      assert.doesNotMatch(text, /PRIVATE KEY|placeholder/, goldenFile(golden));
    }
  });
});

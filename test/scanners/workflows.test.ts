import assert from "node:assert/strict";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ROOT } from "../../scripts/paths.ts";
import type { Scanners } from "../../scripts/scanners/programs.ts";
import { actionlint } from "../../scripts/scanners/scan.ts";
import { BUILD_LIMIT, builtScanners } from "./built.ts";

const FAULTS: readonly { what: string; file: string; from: string; to: string; finds: RegExp }[] = [
  {
    what: "a job that waits for one that there is not",
    file: "up.yml",
    from: "needs: shenzhen",
    to: "needs: shenzen",
    finds: /up\.yml:.*shenzen/,
  },
  {
    what: "an input that the called workflow does not take",
    file: "up.yml",
    from: "region: shanghai",
    to: "stack: shanghai",
    finds: /up\.yml:.*"(stack|region)"/,
  },
  {
    what: "an input that the project's own action does not take",
    file: "drift.yml",
    from: "team: ",
    to: "teem: ",
    finds: /drift\.yml:.*"teem"/,
  },
  {
    what: "a right that there is not",
    file: "preview.yml",
    from: "pull-requests: write",
    to: "pull-request: write",
    finds: /preview\.yml:.*pull-request/,
  },
  {
    what: "others' text in a script",
    file: "preview.yml",
    from: '--against "$BASE"',
    to: "--against ${{ github.head_ref }}",
    finds: /preview\.yml:.*untrusted/,
  },
];

describe("actionlint", () => {
  let scanners: Scanners;
  let folder: string;
  before(async function () {
    this.timeout(BUILD_LIMIT);
    scanners = await builtScanners();
  });
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "iam-ha-workflows-"));
    // It looks for the project by its .git.
    mkdirSync(join(folder, ".git"));
    cpSync(join(ROOT, ".github"), join(folder, ".github"), { recursive: true });
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  it("has no complaint", async () => {
    assert.deepEqual(await actionlint(scanners, folder), []);
  });

  for (const { what, file, from, to, finds } of FAULTS)
    it(`finds ${what}`, async () => {
      const path = join(folder, ".github/workflows", file);
      const text = readFileSync(path, "utf8");
      assert.ok(text.includes(from), `${file} has no ${from}`);
      writeFileSync(path, text.replace(from, to));
      const found = await actionlint(scanners, folder);
      assert.ok(
        found.some((line) => finds.test(line)),
        found.join("\n"),
      );
    });
});

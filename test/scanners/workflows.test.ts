import assert from "node:assert/strict";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ROOT } from "../../scripts/paths.ts";
import { judge } from "../../scripts/scanners/findings.ts";
import type { Scanners } from "../../scripts/scanners/programs.ts";
import { actionlint, readExceptions, zizmor } from "../../scripts/scanners/scan.ts";
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

const RISKS: readonly { what: string; file: string; from: string; to: string; check: string }[] = [
  {
    what: "an event that runs a fork's code with the rights of the target",
    file: "preview.yml",
    from: "  pull_request:",
    to: "  pull_request_target:",
    check: "dangerous-triggers",
  },
  {
    what: "an action that is not pinned",
    file: "up-region.yml",
    from: "pulumi/actions@8e5e406f4007fca908480587cb9893c07090f58d # v7.0.0",
    to: "pulumi/actions@v7",
    check: "unpinned-uses",
  },
  {
    what: "a checkout that leaves its rights on the disk",
    file: "preview.yml",
    from: "persist-credentials: false\n          fetch-depth: 0",
    to: "fetch-depth: 0",
    check: "artipacked",
  },
];

describe("public scanners over the workflows", () => {
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

  it("actionlint has no complaint", async () => {
    assert.deepEqual(await actionlint(scanners, folder), []);
  });

  function change({ file, from, to }: { file: string; from: string; to: string }): void {
    const path = join(folder, ".github/workflows", file);
    const text = readFileSync(path, "utf8");
    assert.ok(text.includes(from), `${file} has no ${from}`);
    writeFileSync(path, text.replace(from, to));
  }

  for (const { what, finds, ...fault } of FAULTS)
    it(`actionlint finds ${what}`, async () => {
      change(fault);
      const found = await actionlint(scanners, folder);
      assert.ok(
        found.some((line) => finds.test(line)),
        found.join("\n"),
      );
    });

  it("zizmor objects to nothing but what has an exception, and every exception is of use", async () => {
    const { open, stale } = judge(await zizmor(scanners, folder), readExceptions("zizmor"));
    assert.deepEqual(open, []);
    assert.deepEqual(stale, [], "exceptions that nothing was found for: take them out");
  });

  for (const { what, check, ...fault } of RISKS)
    it(`zizmor finds ${what}`, async () => {
      change(fault);
      const { open } = judge(await zizmor(scanners, folder), readExceptions("zizmor"));
      assert.ok(
        open.some((finding) => finding.check === check && finding.object === `Workflow/${fault.file}`),
        JSON.stringify(open),
      );
    });
});

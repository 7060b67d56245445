import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ROOT } from "../../scripts/paths.ts";

interface Result {
  readonly status: number | string | null | undefined;
  readonly stdout: string;
  readonly stderr: string;
}

describe("the command `policy`", () => {
  let folder = "";
  before(() => {
    folder = mkdtempSync(join(tmpdir(), "iam-ha-policy-"));
  });
  after(() => rmSync(folder, { recursive: true }));
  const config = (value: object) => {
    const file = join(folder, `${Math.random()}.json`);
    writeFileSync(file, JSON.stringify(value));
    return file;
  };
  const run = (...args: string[]): Promise<Result> =>
    new Promise((resolve) =>
      execFile(
        process.execPath,
        [join(ROOT, "scripts/main.ts"), "policy", ...args],
        { timeout: 60_000, maxBuffer: 64 * 1024 * 1024 },
        (error, stdout, stderr) => resolve({ status: error ? error.code : 0, stdout, stderr }),
      ),
    );

  it("judges all stacks, and ends with 0 where they pass", async () => {
    const { status, stdout, stderr } = await run();
    assert.equal(status, 0, stdout + stderr);
    assert.match(stdout, /^\d+ rules?, \d+ resources, 0 violations\n$/);
  });

  it("ends with 1 for what is mandatory, and with 0 for what is advisory", async () => {
    const limit = { maximum: 15 };
    const mandatory = await run("beijing", "--preview", "--format", "json", "--config", config({ "pool-size": limit }));
    assert.equal(mandatory.status, 1, mandatory.stderr);
    const { passed, findings } = JSON.parse(mandatory.stdout) as {
      passed: boolean;
      findings: Record<string, string>[];
    };
    assert.equal(passed, false);
    assert.deepEqual(
      findings.map(({ rule, level, stack }) => [stack, rule, level]),
      [["beijing", "pool-size", "mandatory"]],
    );
    const advisory = { "pool-size": { ...limit, enforcementLevel: "advisory" } };
    const table = await run("beijing", "--config", config(advisory));
    assert.equal(table.status, 0, table.stderr);
    assert.match(table.stdout, /pool-size {2}high, advisory[\s\S]*What to do:[\s\S]*1 violation \(advisory\)\n$/);
  });

  it("ends with 2, and judges nothing, where it is not told right what to do", async () => {
    const cases: readonly [readonly string[], RegExp][] = [
      [["peking"], /found "peking"; stacks are beijing, shanghai, shenzhen/],
      [["--format", "xml"], /'xml' is invalid. Allowed choices are table, json, sarif/],
      [["--fromat", "json"], /unknown option/],
      [["--config", join(folder, "none.json")], /none\.json: ENOENT/],
      [["--config", config({ "pool-sise": "advisory" })], /policy config pool-sise: unknown rule; rules are all, /],
      [["--state", join(folder, "none.json")], /state file .*none\.json: ENOENT/],
      [["beijing", "--state", "x"], /give it without stacks/],
    ];
    for (const [args, message] of cases) {
      const { status, stdout, stderr } = await run(...args);
      assert.equal(status, 2, args.join(" ") + stderr);
      assert.match(stderr, message);
      assert.equal(stdout, "");
    }
  }).timeout(120_000);
});

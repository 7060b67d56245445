import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { RULES } from "../../policies/rules/index.ts";
import { findPulumi } from "../../scripts/start/pulumi.ts";
import { DEFAULT_REGIONS } from "../../stacks/topology.ts";
import { runDirectly } from "../policies/direct.ts";
import { MUTATIONS } from "../policies/mutations/index.ts";
import { Packs } from "../policies/packs.ts";
import { ChangedStack, realStack } from "../policies/stack.ts";
import { EngineStack, type Preview } from "../support/engine-preview.ts";

const MINUTE = 60_000;
const REGIONS = Object.keys(DEFAULT_REGIONS);
/** A preview takes some 5 seconds; all mutations are worth it after a change of the engine or of the rules' readers. */
const EVERY = process.env["IAM_HA_ALL_MUTATIONS"] !== undefined;
const CHOSEN = EVERY ? MUTATIONS : RULES.map(({ name }) => MUTATIONS.find(({ rule }) => rule === name)!);

/** The policy pack under the real engine, which needs no cluster for a preview. */
describe("pulumi preview --policy-pack policies, with the real engine", function () {
  this.timeout(6 * MINUTE);
  const stacks = new Map<string, EngineStack>();
  const packs = new Packs();
  let folder = "";

  before(async function () {
    if (!(await findPulumi())) {
      process.stdout.write("  skipped: there is no pulumi on PATH\n");
      return this.skip();
    }
    this.timeout(10 * MINUTE);
    folder = mkdtempSync(join(tmpdir(), "iam-ha-engine-"));
    for (const region of REGIONS) {
      const stack = new EngineStack(region, folder);
      await stack.make();
      stacks.set(region, stack);
    }
  });

  after(() => {
    packs.remove();
    if (folder) rmSync(folder, { recursive: true, force: true });
  });

  const stackOf = (region: string) => stacks.get(region)!;

  for (const region of REGIONS) {
    it(`lets the project's program pass for ${region}, and asks every rule`, async () => {
      const preview = await stackOf(region).previewProgram();
      assertPassed(preview);
      const kinds = new Set((await realStack(region)).map(({ type }) => type));
      for (const type of kinds) assert.ok(preview.made.includes(type), `${type} is not made`);
    });

    it(`lets what that program registers pass for ${region}`, async () => {
      assertPassed(await stackOf(region).previewOf(await realStack(region)));
    });
  }

  for (const { rule, breaks, region = "beijing", change } of CHOSEN) {
    it(`stops what breaks ${rule}, as the rules say when they are called directly: ${breaks}`, async () => {
      const stack = new ChangedStack(await realStack(region));
      change(stack);
      const preview = await stackOf(region).previewOf(stack.resources);
      assert.deepEqual(gist(preview.violations), gist(await runDirectly(stack.resources)), preview.failure);
      assert.ok(preview.violations.every(({ level }) => level === "mandatory"));
      assert.ok(preview.failure !== undefined, "the preview passes");
    });
  }

  it("shows an advisory violation and lets it pass, and does not ask a rule that is disabled", async () => {
    const stack = new ChangedStack(await realStack("beijing"));
    MUTATIONS.find(({ rule }) => rule === "pool-size")!.change(stack);
    const advisory = await stackOf("beijing").previewOf(stack.resources, { config: { "pool-size": "advisory" } });
    assert.equal(advisory.failure, undefined);
    assert.deepEqual(
      [...new Set(advisory.violations.map(({ rule, level }) => `${rule} ${level}`))],
      ["pool-size advisory"],
    );
    const disabled = await stackOf("beijing").previewOf(stack.resources, { config: { "pool-size": "disabled" } });
    assert.deepEqual([disabled.failure, disabled.violations], [undefined, []]);
    assert.ok(!disabled.asked.has("pool-size"));
  });

  it("takes limits from the configuration", async () => {
    const config = { "pool-sum": { other: 100_000 } };
    const preview = await stackOf("beijing").previewOf(await realStack("beijing"), { config });
    assert.deepEqual([...new Set(preview.violations.map(({ rule }) => rule))], ["pool-sum"]);
    assert.match(preview.violations[0]!.message, /100000 of others/);
  });

  for (const [what, config, says] of [
    ["an unknown key", { "pool-sum": { others: 5 } }, /policy config pool-sum\.others: unknown key/],
    ["a wrong type", { "pool-sum": { other: "five" } }, /pool-sum: other.*integer/s],
    ["a value outside of its limits", { "pool-sum": { other: -1 } }, /pool-sum: other.*greater than or equal to 0/s],
    ["a key of a rule without any", { "failsafe-mode": { on: true } }, /policy config failsafe-mode\.on: unknown key/],
    ["an unknown rule", { "pool-sums": "advisory" }, /policy config pool-sums: unknown rule; rules are pool-size, /],
    // The engine's own word for it, before it asks the pack.
    ["keys of an unknown rule", { "pool-sums": { other: 5 } }, /configuring policy pack.*invalid enforcement level ""/],
    ["an unknown level", { "pool-sum": "strict" }, /"strict" is not a valid enforcement level/],
  ] as const) {
    it(`fails for ${what} in the configuration, and says so`, async () => {
      const preview = await stackOf("beijing").previewOf(await realStack("beijing"), { config });
      assert.match(preview.failure ?? "it passed", says);
    });
  }

  it("fails where an old node comes first on PATH, and says which one is needed", async () => {
    // As a node that does not know TypeScript.
    const env = { NODE_OPTIONS: "--no-experimental-strip-types" };
    const preview = await stackOf("beijing").previewOf(await realStack("beijing"), { env });
    assert.match(preview.failure ?? "it passed", /found Node\.js v\S+ \(.*\) first on PATH; 24 is needed/);
  });

  it("fails where the pack cannot be loaded", async () => {
    const pack = packs.copy();
    writeFileSync(join(pack, "rules/pools/pool-sum.ts"), "export const poolSum = undefinedName;\n");
    const preview = await stackOf("beijing").previewOf(await realStack("beijing"), { pack });
    assert.match(preview.failure ?? "it passed", /undefinedName is not defined/);
  });
});

function assertPassed(preview: Preview): void {
  assert.equal(preview.failure, undefined);
  assert.deepEqual(preview.violations, []);
  assert.deepEqual([...preview.asked].sort(), RULES.map(({ name }) => name).sort());
}

/** What is found, in an order of its own. The engine gives what names no provider a default one. */
function gist(found: readonly { readonly rule: string; readonly message: string }[]): string[] {
  return found
    .map(
      ({ rule, message }) =>
        `${rule}: ${message.replace(/found none that is named|found default\S* of \S+(?=;)/, "no own one")}`,
    )
    .sort();
}

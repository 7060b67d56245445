import assert from "node:assert/strict";
import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { EMBEDDED_CONFIG } from "../../scripts/commands/policy.ts";
import { bringUp } from "../../scripts/commands/start.ts";
import { loadDeployment } from "../../scripts/deployment.ts";
import { kubectl } from "../../scripts/kubernetes.ts";
import { downRegions } from "../../scripts/local/index.ts";
import { sharedPasswords } from "../../scripts/local/values/passwords.ts";
import { ROOT } from "../../scripts/paths.ts";
import { accessTo } from "../../scripts/start/access.ts";
import { instanceFolder } from "../../scripts/start/folders.ts";
import { runPulumi, type LocalStack } from "../../scripts/start/pulumi-cli.ts";
import { findPulumi, stackOf } from "../../scripts/start/pulumi.ts";

const INSTANCE = "pulumi";
const REGION = "beijing";
const MINUTE = 60_000;

/** The program under the real engine, against a cluster of its own: what mocks can't tell. */
describe("pulumi, with the real engine", function () {
  this.timeout(15 * MINUTE);
  let stack: LocalStack;

  before(async function () {
    if (!(await findPulumi())) {
      process.stdout.write("  skipped: there is no pulumi on PATH\n");
      return this.skip();
    }
    this.timeout(30 * MINUTE);
    await bringUp({ regions: [REGION], instance: INSTANCE });
    stack = stackOf(place(), instanceFolder(INSTANCE));
  });

  after(async function () {
    this.timeout(5 * MINUTE);
    if (await findPulumi()) await downRegions("all", { instance: INSTANCE, wipe: true });
  });

  const place = () => loadDeployment(INSTANCE).regions.find(({ region }) => region === REGION)!;
  const run = (...args: string[]) => runPulumi(stack, [...args, "--stack", stack.name], { timeoutMs: 10 * MINUTE });

  it("has made every pod, and keeps them in a state of this machine alone", async () => {
    const pods = await kubectl(accessTo(place()), ["-n", "iam", "get", "pods", "-o", "name"]);
    assert.ok(pods.trim().split("\n").length > 10, pods);
    const { resources } = JSON.parse(await run("stack", "export")).deployment as { resources: { type: string }[] };
    for (const kind of ["Namespace", "StatefulSet", "Deployment", "Service", "Secret"]) {
      assert.ok(
        resources.some(({ type }) => type.endsWith(`:${kind}`)),
        kind,
      );
    }
  });

  it("has no secret in plain in its config, its key or its state", async () => {
    const passwords = sharedPasswords(`${instanceFolder(INSTANCE)}/passwords.json`);
    const texts = [readFileSync(stack.configFile, "utf8"), await run("stack", "export")];
    for (const text of texts) {
      for (const [name, password] of Object.entries(passwords)) assert.ok(!text.includes(password), name);
      assert.ok(!text.includes("PRIVATE KEY"));
    }
    assert.equal(statSync(stack.configFile).mode & 0o777, 0o600);
    assert.equal(statSync(stack.env["PULUMI_CONFIG_PASSPHRASE_FILE"]!).mode & 0o777, 0o600);
  });

  it("previews no change", async () => {
    assert.match(await run("preview", "--expect-no-changes"), /unchanged/);
  });

  it("passes the policy pack with what the cluster made of it", async () => {
    const policies = ["--policy-pack", join(ROOT, "policies"), "--policy-pack-config", EMBEDDED_CONFIG];
    assert.match(await run("preview", "--expect-no-changes", ...policies), /unchanged/);
  });

  it("changes nothing when it is brought up again", async () => {
    assert.match(await run("up", "--yes", "--skip-preview", "--expect-no-changes"), /unchanged/);
  });

  it("finds no drift", async () => {
    assert.match(await run("refresh", "--yes", "--skip-preview", "--expect-no-changes"), /unchanged/);
  });

  it("takes everything away again", async () => {
    await run("destroy", "--yes", "--skip-preview");
    await assert.rejects(kubectl(accessTo(place()), ["get", "namespace", "iam"]), /NotFound/);
  });
});

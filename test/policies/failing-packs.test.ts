import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { appendFileSync, existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { ROOT } from "../../scripts/paths.ts";
import { checkStacks, type CheckOptions } from "../../scripts/policy/index.ts";
import { UNKNOWN, type RegisteredResource } from "../../scripts/render/collect.ts";
import { named, Packs } from "./packs.ts";
import { ChangedStack, realStack } from "./stack.ts";

describe("a policy pack that", () => {
  const packs = new Packs();
  let pidFile = "";
  let stacks: { name: string; resources: RegisteredResource[] }[];
  before(async () => {
    stacks = [{ name: "beijing", resources: await realStack("beijing") }];
  });
  beforeEach(function () {
    pidFile = packs.path(`pid-${this.currentTest?.title}`);
  });
  after(() => packs.remove());

  /** Runs a pack of one rule, `judged`, whose check of a resource is this code. */
  const check = (code: string, options: CheckOptions = {}) =>
    checkStacks(stacks, { pack: packs.of(judging(code)), rules: named("judged"), ...options });
  const judging = (code: string, more = "") =>
    `{ name: "judged", description: "a test", enforcementLevel: "mandatory", validateResource: (args, report) => { ${code} }, ${more} }`;
  const writePid = () => `writeFileSync(${JSON.stringify(pidFile)}, String(process.pid));`;

  it("cannot be loaded is an error that shows why", async () => {
    const pack = packs.copy();
    appendFileSync(join(pack, "rules/pools/pool-size.ts"), "\nexport const = 1;\n");
    await assert.rejects(
      checkStacks(stacks, { pack }),
      /before it was ready; it wrote:[\s\S]*SyntaxError|Expression expected/,
    );
    await assert.rejects(checkStacks(stacks, { pack: packs.path("none") }), /could not be run: .*ENOENT/);
  });

  it("ends at once, or prints something else than a port, is an error", async () => {
    await assert.rejects(checkStacks(stacks, { pack: packs.write("process.exit(3);") }), /ended with status 3 before/);
    const chatty = packs.write('process.stdout.write("hello\\n"); setInterval(() => {}, 1000);');
    await assert.rejects(checkStacks(stacks, { pack: chatty }), /printed "hello" where its port was expected/);
  });

  it("never says that it is ready is ended", async () => {
    const pack = packs.write(`${writePid()} console.error("asleep"); setInterval(() => {}, 1000);`);
    const startMs = 10_000;
    await assert.rejects(checkStacks(stacks, { pack, startMs }), /not ready within 10000 ms; it wrote:\nasleep/);
    assertGone(pidFile);
  });

  it("dies in the middle is an error", async () => {
    const dying = check(
      'console.error("last words"); if (args.type.endsWith(":StatefulSet")) process.kill(process.pid, "SIGKILL");',
    );
    await assert.rejects(dying, /asked about urn:.*: its process ended by SIGKILL; it wrote:\n[\s\S]*last words/);
  });

  it("hangs is an error, and is ended", async () => {
    const pack = packs.write(`${writePid()} new policy.PolicyPack("test", { policies: [${judging("for (;;);")}] });`);
    const hanging = checkStacks(stacks, { pack, rules: named("judged"), callMs: 2000 });
    await assert.rejects(hanging, /asked about .*no answer within 2000 ms/);
    assertGone(pidFile);
  });

  it("hangs is ended when the run is stopped", async () => {
    const pack = packs.write(`${writePid()} new policy.PolicyPack("test", { policies: [${judging("for (;;);")}] });`);
    const abort = new AbortController();
    const hanging = checkStacks(stacks, { pack, rules: named("judged"), signal: abort.signal });
    const stop = setInterval(() => existsSync(pidFile) && abort.abort(new Error("stopped by the test")), 500);
    await assert.rejects(hanging, /stopped by the test/).finally(() => clearInterval(stop));
    assertGone(pidFile);
  });

  it("is left alone, as whoever started it was killed, ends by itself", async () => {
    const start = [
      `import { PackProcess } from ${JSON.stringify(join(ROOT, "scripts/policy/process.ts"))};`,
      `const pack = await PackProcess.start({ pack: ${JSON.stringify(packs.of(judging("")))} });`,
      "console.log(pack.pid);",
    ];
    const parent = spawn(process.execPath, ["--input-type=module", "-e", start.join("\n")], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const [line] = (await once(parent.stdout.setEncoding("utf8"), "data")) as [string];
    process.kill(Number(line), 0);
    parent.kill("SIGKILL");
    for (const end = Date.now() + 15_000; ; await sleep(100)) {
      try {
        process.kill(Number(line), 0);
      } catch {
        break;
      }
      assert.ok(Date.now() < end, "the pack goes on");
    }
  });

  it("throws is an error", async () => {
    await assert.rejects(check('throw new TypeError("no such thing");'), /policy 'judged'[\s\S]*no such thing/);
  });

  it("lacks a rule, or has one more, is another one than is meant", async () => {
    const pack = packs.of(judging(""));
    await assert.rejects(checkStacks(stacks, { pack, rules: named("judged", "other") }), /the policy pack lacks other/);
    await assert.rejects(checkStacks(stacks, { pack, rules: [] }), /rules that are not known here: judged/);
    await assert.rejects(checkStacks([]), /no stack to judge/);
    await assert.rejects(checkStacks([{ name: "beijing", resources: [] }]), /beijing has no resources/);
  });

  it("reads an unknown value does not let it pass", async () => {
    const stack = new ChangedStack(await realStack("beijing"));
    (stack.object("Service", "postgresql-nodes")["metadata"] as Record<string, unknown>)["name"] = UNKNOWN;
    const pack = packs.of(judging("args.props.metadata?.name"));
    const { findings } = await checkStacks([{ name: "beijing", resources: stack.resources }], {
      pack,
      rules: named("judged"),
    });
    assert.equal(findings.length, 1);
    assert.equal(findings[0]!.level, "mandatory");
    assert.match(findings[0]!.message, /can't run policy 'judged'.* during preview/);
  });

  it("speaks of secrets has them masked, in findings and in errors", async () => {
    const text = JSON.stringify("s3cr3t-v4lue-of-nobody");
    const changed = structuredClone(stacks);
    const secret = changed[0]!.resources.find(({ type }) => type === "kubernetes:core/v1:Secret")!;
    assert.deepEqual(secret.secretPaths, [["stringData"]]);
    secret.inputs["stringData"] = { file: `user = nobody\npassword = ${text}\n` };
    const run = (code: string) => checkStacks(changed, { pack: packs.of(judging(code)), rules: named("judged") });
    const read = 'const file = args.type.endsWith(":Secret") ? args.props.stringData?.file : undefined;';
    const { findings } = await run(`${read} if (file) report("found " + file);`);
    assert.equal(findings.length, 1);
    assert.match(findings[0]!.message, /found .*\(secret\)/s);
    assert.doesNotMatch(JSON.stringify(findings), /s3cr3t/);
    for (const code of ["console.error(file); throw new Error(file);", "JSON.parse(file);"])
      await assert.rejects(run(`${read} if (file) { ${code} }`), (error: Error) => {
        assert.doesNotMatch(`${error.stack}${String(error.cause)}`, /s3cr3t|nobody\\n/);
        return true;
      });
  });
});

function assertGone(pidFile: string): void {
  assert.ok(existsSync(pidFile), "the pack has not run");
  const pid = Number(readFileSync(pidFile, "utf8"));
  assert.throws(() => process.kill(pid, 0), { code: "ESRCH" });
}

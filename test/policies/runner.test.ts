import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { appendFileSync, existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";
import { resourceRule, stackRule, type Rule } from "../../policies/rule.ts";
import { policyDocs } from "../../scripts/commands/policy-docs.ts";
import { Analyzer, rulesIn } from "../../scripts/policy/analyzer.ts";
import { parsePolicyConfig } from "../../scripts/policy/config.ts";
import { checkStacks, withJudge, type CheckOptions, type Finding } from "../../scripts/policy/index.ts";
import { judgeResource, judgeTogether, type Judge } from "../../scripts/policy/judge.ts";
import { providersOf } from "../../scripts/policy/wire.ts";
import { ROOT } from "../../scripts/paths.ts";
import { UNKNOWN, type RegisteredResource } from "../../scripts/render/collect.ts";
import { DEFAULT_REGIONS } from "../../stacks/topology.ts";
import { runDirectly } from "./direct.ts";
import { MUTATIONS } from "./mutations/index.ts";
import { Packs } from "./packs.ts";
import { ChangedStack, realStack } from "./stack.ts";

const REGIONS = Object.keys(DEFAULT_REGIONS);
const gist = (findings: readonly Pick<Finding, "rule" | "message" | "urn">[]) =>
  findings.map(({ rule, message, urn }) => ({ rule, message, urn })).sort((a, b) => compare(a, b));

function compare(a: object, b: object): number {
  return JSON.stringify(a) < JSON.stringify(b) ? -1 : 1;
}

/** Rules that a test's pack has, as the runner has to know them. */
function named(...names: readonly string[]): Rule[] {
  const text = { description: "a test", severity: "low", why: "a test", remediation: "none" } as const;
  return names.map((name) => resourceRule({ name, ...text, check: () => {} }));
}

describe("the policy pack over gRPC", () => {
  it("lets the real stacks pass", async () => {
    for (const preview of [false, true]) {
      const stacks = await Promise.all(
        REGIONS.map(async (name) => ({ name, resources: await realStack(name, { preview }) })),
      );
      const result = await checkStacks(stacks);
      assert.deepEqual(gist(result.findings), []);
      assert.ok(result.rules > 0);
    }
  });

  it("says of every mutation what the rules say when they are called directly", async function () {
    this.timeout(30_000 + MUTATIONS.length * 1000);
    await withJudge({}, async (judge) => {
      for (const mutation of MUTATIONS) {
        const region = mutation.region ?? "beijing";
        const before = await realStack(region);
        const stack = new ChangedStack(await realStack(region));
        mutation.change(stack);
        const findings = await judgeChanged(judge, region, before, stack.resources);
        const direct = await runDirectly(stack.resources);
        const what = `${mutation.rule}: ${mutation.breaks}`;
        assert.deepEqual(gist(findings), gist(direct), what);
        const judged = findings.filter(
          ({ rule, message }) => !(mutation.unjudged?.includes(rule) && message.includes("cannot be judged")),
        );
        assert.deepEqual([...new Set(judged.map(({ rule }) => rule))], [mutation.rule], what);
        assert.ok(
          findings.every(({ level }) => level === "mandatory"),
          what,
        );
      }
    });
  });

  it("says which object breaks a rule, what it does and where that is explained", async () => {
    const stack = new ChangedStack(await realStack("beijing"));
    stack.file("pgbouncer-config", "pgbouncer.ini", (text) => text.replace("pool_size=20", "pool_size=101"));
    const { findings } = await checkStacks([{ name: "beijing", resources: stack.resources }]);
    const finding = findings.find(({ rule }) => rule === "pool-size");
    assert.ok(finding);
    assert.equal(finding.stack, "beijing");
    assert.equal(finding.object, "ConfigMap/pgbouncer-config");
    assert.equal(finding.urn, stack.registered("ConfigMap", "pgbouncer-config").urn);
    assert.match(finding.message, /^data\["pgbouncer.ini"\].*found pool_size 101; at most 100 is allowed$/);
    assert.match(finding.url, /docs\/policies\.md#pool-size$/);
    assert.match(finding.remediation, /iam-ha:pooler/);
    assert.equal(finding.severity, "high");
  });

  it("has the levels and limits that its configuration sets", async () => {
    const stacks = [{ name: "beijing", resources: await realStack("beijing") }];
    const check = async (config: unknown) =>
      (await checkStacks(stacks, { config: parsePolicyConfig(config) })).findings.map(
        ({ rule, level }) => `${rule} ${level}`,
      );
    const limit = { maximum: 15 };
    assert.deepEqual(await check({ "pool-size": limit }), ["pool-size mandatory"]);
    assert.deepEqual(await check({ all: "advisory", "pool-size": limit }), ["pool-size advisory"]);
    const own = { ...limit, enforcementLevel: "mandatory" };
    assert.deepEqual(await check({ all: "disabled", "pool-size": own }), ["pool-size mandatory"]);
    assert.deepEqual(await check({ "pool-size": { ...limit, enforcementLevel: "disabled" } }), []);
    // A level that repairs, at a rule that cannot: what is broken stops as before.
    assert.deepEqual(await check({ "pool-size": { ...limit, enforcementLevel: "remediate" } }), [
      "pool-size mandatory",
    ]);
  });

  it("is explained in docs/policies.md, which is what the rules say", () => policyDocs({ check: true }));

  it("knows the project's rules by the names that the pack gives them", async () => {
    const analyzer = await Analyzer.start();
    try {
      const { RULES } = await import("../../policies/rules/index.ts");
      assert.deepEqual(
        [...rulesIn(await analyzer.info()).keys()],
        RULES.map(({ name }) => name),
      );
    } finally {
      await analyzer.end();
    }
  });
});

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

describe("a remediation", () => {
  const packs = new Packs();
  after(() => packs.remove());
  const rule = (level: string) => `rule.resourceRule({
    name: "labelled", description: "a test", severity: "low", why: "a test", remediation: "none", level: "${level}",
    check: ({ resource, report }) => {
      if (resource.type.endsWith(":Secret") && resource.props.metadata.labels.test !== "yes") report("metadata.labels.test: found nothing; yes is needed");
    },
    remedy: (props, { resource }) => {
      if (!resource.type.endsWith(":Secret")) return false;
      props.metadata.labels.test = "yes";
      return true;
    },
  }).policy`;
  const seen = `rule.stackRule({
    name: "counted", description: "a test", severity: "low", why: "a test", remediation: "none",
    check: ({ stack, report }) => report(String(stack.resources.filter((one) => one.props.metadata?.labels?.test === "yes").length)),
  }).policy`;
  const rules = [
    ...named("labelled"),
    stackRule({ name: "counted", description: "", severity: "low", why: "", remediation: "", check: () => {} }),
  ];

  it("goes on with what it changed, says what that was, and keeps secrets", async () => {
    const resources = await realStack("beijing");
    const secrets = resources.filter(({ type }) => type.endsWith(":Secret"));
    const pack = packs.of(rule("remediate"), seen);
    const { findings, remedied } = await checkStacks([{ name: "beijing", resources }], { pack, rules });
    assert.deepEqual(
      findings.map(({ rule: name, message }) => [name, message]),
      [["counted", String(secrets.length)]],
    );
    assert.deepEqual(
      remedied.map(({ urn }) => urn),
      secrets.map(({ urn }) => urn),
    );
    for (const { paths } of remedied) assert.deepEqual(paths, ["metadata.labels.test"]);
  });

  it("is not done at another level, nor to what was deployed", async () => {
    const resources = await realStack("beijing");
    const secrets = resources.filter(({ type }) => type.endsWith(":Secret")).length;
    const stack = { name: "beijing", resources };
    const count = (result: { findings: readonly Finding[] }) =>
      result.findings.filter(({ rule: name }) => name === "labelled").length;
    const mandatory = await checkStacks([stack], { pack: packs.of(rule("mandatory"), seen), rules });
    assert.deepEqual([count(mandatory), mandatory.remedied.length], [secrets, 0]);
    const deployed = await checkStacks([{ ...stack, deployed: true }], {
      pack: packs.of(rule("remediate"), seen),
      rules,
    });
    assert.deepEqual([count(deployed), deployed.remedied.length], [secrets, secrets]);
    assert.ok(
      deployed.findings.every(({ level, rule: name }) => level === (name === "labelled" ? "mandatory" : level)),
    );
  });
});

/** Resources that the change left as they were have been judged by themselves before. */
async function judgeChanged(
  judge: Judge,
  stack: string,
  before: readonly RegisteredResource[],
  after: readonly RegisteredResource[],
): Promise<Finding[]> {
  const old = new Map(before.map((resource) => [resource.urn, resource]));
  const providerOf = providersOf(after);
  const changed = after.filter((resource) => !isDeepStrictEqual(resource, old.get(resource.urn)));
  const each = await Promise.all(
    changed.map((resource) => judgeResource(judge, stack, resource, providerOf(resource))),
  );
  return [...each.flat(), ...(await judgeTogether(judge, stack, after))];
}

function assertGone(pidFile: string): void {
  assert.ok(existsSync(pidFile), "the pack has not run");
  const pid = Number(readFileSync(pidFile, "utf8"));
  assert.throws(() => process.kill(pid, 0), { code: "ESRCH" });
}

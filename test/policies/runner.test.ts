import assert from "node:assert/strict";
import { isDeepStrictEqual } from "node:util";
import type { Rule } from "../../policies/rule.ts";
import { RULES } from "../../policies/rules/index.ts";
import { policyDocs } from "../../scripts/commands/policy-docs.ts";
import { Analyzer, rulesIn } from "../../scripts/policy/analyzer.ts";
import { parsePolicyConfig } from "../../scripts/policy/config.ts";
import { checkStacks, withJudge, type Finding } from "../../scripts/policy/index.ts";
import { judgeResource, judgeTogether, type Judge } from "../../scripts/policy/judge.ts";
import { providersOf } from "../../scripts/policy/wire.ts";
import type { RegisteredResource } from "../../scripts/render/collect.ts";
import { DEFAULT_REGIONS } from "../../stacks/topology.ts";
import { runDirectly } from "./direct.ts";
import { MUTATIONS } from "./mutations/index.ts";
import { ChangedStack, realStack } from "./stack.ts";

const REGIONS = Object.keys(DEFAULT_REGIONS);
const gist = (findings: readonly Pick<Finding, "rule" | "message" | "urn">[]) =>
  findings.map(({ rule, message, urn }) => ({ rule, message, urn })).sort((a, b) => compare(a, b));

function compare(a: object, b: object): number {
  return JSON.stringify(a) < JSON.stringify(b) ? -1 : 1;
}

describe("the policy pack over gRPC", () => {
  it("lets the real stacks pass", async () => {
    for (const preview of [false, true]) {
      const stacks = [];
      for (const name of REGIONS) stacks.push({ name, resources: await realStack(name, { preview }) });
      const result = await checkStacks(stacks);
      assert.deepEqual(gist(result.findings), []);
      assert.ok(result.rules > 0);
    }
  });

  // Every rule over every mutation is what rules.test.ts does directly. Here each mutation goes the way of its own rule:
  // a resource by itself, or all together; and what all rules of that way say of it has to be the same.
  it("says of every mutation what the rules say when they are called directly", async function () {
    this.timeout(60_000 + MUTATIONS.length * 1000);
    await withJudge({}, async (judge) => {
      for (const { rule: name, breaks, region = "beijing", change } of MUTATIONS) {
        const before = new Map((await realStack(region)).map((resource) => [resource.urn, resource]));
        const stack = new ChangedStack(await realStack(region));
        change(stack);
        const together = isStackRule(RULES.find((rule) => rule.name === name)!);
        const judged = together
          ? stack.resources
          : stack.resources.filter((resource) => !isDeepStrictEqual(resource, before.get(resource.urn)));
        const rules = RULES.filter((rule) => isStackRule(rule) === together);
        const findings = together
          ? await judgeTogether(judge, region, judged)
          : await judgeEach(judge, region, judged, stack.resources);
        assert.deepEqual(gist(findings), gist(await runDirectly(judged, { rules })), `${name}: ${breaks}`);
        assert.ok(
          findings.some(({ rule, level }) => rule === name && level === "mandatory"),
          `${name}: ${breaks}`,
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

  it("refuses configuration of rules that it does not have, whoever runs it", async () => {
    const analyzer = await Analyzer.start();
    try {
      const set = { level: "advisory", properties: {} } as const;
      await analyzer.configure({ all: set, "pool-sum": set });
      await assert.rejects(
        analyzer.configure({ "pool-sum": set, "pool-sums": set, poolsum: set }),
        /policy config pool-sums, poolsum: unknown rules; rules are pool-size, /,
      );
    } finally {
      await analyzer.end();
    }
  });

  it("knows the project's rules by the names that the pack gives them", async () => {
    const analyzer = await Analyzer.start();
    try {
      assert.deepEqual(
        [...rulesIn(await analyzer.info()).keys()],
        RULES.map(({ name }) => name),
      );
    } finally {
      await analyzer.end();
    }
  });
});

function isStackRule({ policy }: Rule): boolean {
  return "validateStack" in policy;
}

async function judgeEach(
  judge: Judge,
  stack: string,
  resources: readonly RegisteredResource[],
  all: readonly RegisteredResource[],
): Promise<Finding[]> {
  const providerOf = providersOf(all);
  const each = resources.map((resource) => judgeResource(judge, stack, resource, providerOf(resource)));
  return (await Promise.all(each)).flat();
}

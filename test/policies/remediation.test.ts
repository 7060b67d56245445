import assert from "node:assert/strict";
import { stackRule } from "../../policies/rule.ts";
import { checkStacks, type Finding } from "../../scripts/policy/index.ts";
import { named, Packs } from "./packs.ts";
import { realStack } from "./stack.ts";

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

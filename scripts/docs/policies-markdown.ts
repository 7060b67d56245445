import { z } from "zod";
import type { Rule } from "../../policies/rule.ts";
import { RULE_GROUPS, type RuleGroup } from "../../policies/rules/index.ts";
import type { Mutation } from "../../test/policies/mutation.ts";
import { MUTATIONS } from "../../test/policies/mutations/index.ts";
import { escape, keyTable, type JsonSchema } from "./config-markdown.ts";

/** docs/policies.md: every rule of the pack, from the rules themselves and from the changes that prove them.
 *  @throws Error for a rule that nothing proves */
export function policiesMarkdown(
  groups: readonly RuleGroup[] = RULE_GROUPS,
  mutations: readonly Mutation[] = MUTATIONS,
): string {
  const lines = [
    "# Policies",
    "",
    "Every rule of the policy pack, made from the rules by `npm run policy-docs`. The pack runs with the engine",
    "(`pulumi preview --policy-pack policies`), without it (`npm run policy`), and over what was deployed",
    "(`npm run policy -- --state FILE`), always with the same result.",
    "",
    "Levels and limits are set in a JSON file, given as `--policy-pack-config` to the engine and as `--config` here:",
    "",
    "```json",
    '{ "all": "mandatory", "<rule>": { "enforcementLevel": "advisory", "<key>": "<value>" } }',
    "```",
    "",
    "Levels are `advisory` (shown only), `mandatory` (stops), `remediate` (repaired where the rule can, else as",
    "mandatory) and `disabled`. Unknown rules, unknown keys and wrong values are errors. What a rule cannot read, or",
    "what is not known yet, does not pass. With the engine Node 24 has to be the first `node` on PATH.",
  ];
  for (const { title, rules } of groups) {
    lines.push("", `## ${title}`, "");
    lines.push("| rule | what has to be so |", "| --- | --- |");
    lines.push(...rules.map(({ name, description }) => `| [\`${name}\`](#${name}) | ${escape(description)} |`));
    for (const rule of rules) lines.push(...ruleSection(rule));
  }
  lines.push("", "## What proves them", "");
  lines.push(
    "For each limit the smallest change of a real stack that breaks it: each is found by its rule and by no other.",
    "",
    "| rule | change | stack |",
    "| --- | --- | --- |",
    ...groups.flatMap(({ rules }) => rules.map((rule) => proofRow(rule, mutations))),
  );
  return `${lines.join("\n")}\n`;
}

function ruleSection(rule: Rule): string[] {
  const { name, description, why, severity, level, remediation, config, policy } = rule;
  const over = "validateStack" in policy ? "all resources of a stack together" : "each resource by itself";
  const repairs = "remediateResource" in policy && policy.remediateResource ? " It can repair what it finds." : "";
  const lines = [
    "",
    `### ${name}`,
    "",
    description,
    "",
    `Severity ${severity}, level \`${level ?? "mandatory"}\`; judges ${over}.${repairs}`,
    "",
    `**Why:** ${why}`,
    "",
    `**What to do:** ${remediation}`,
  ];
  const rows = config ? keyTable(z.toJSONSchema(config, { io: "input", unrepresentable: "any" }) as JsonSchema) : [];
  return rows.length > 0 ? [...lines, "", ...rows] : [...lines, "", "It has no configuration."];
}

function proofRow({ name }: Rule, mutations: readonly Mutation[]): string {
  const own = mutations.filter(({ rule }) => rule === name);
  if (own.length === 0) throw new Error(`no change proves the rule ${name}: write one in test/policies/mutations`);
  const stacks = [...new Set(own.map(({ region = "beijing" }) => region))];
  return `| [\`${name}\`](#${name}) | ${own.map(({ breaks }) => escape(breaks)).join("; ")} | ${stacks.join(", ")} |`;
}

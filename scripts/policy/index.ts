import { RULES } from "../../policies/rules/index.ts";
import type { Rule } from "../../policies/rule.ts";
import { Analyzer, rulesIn, type AnalyzerOptions } from "./analyzer.ts";
import { resolveConfig, type PolicyConfig, type RuleDefaults } from "./config.ts";
import type { CheckResult, Finding, Remedied, StackResources } from "./findings.ts";
import { judgeStack, type Judge } from "./judge.ts";
import { levelName } from "./levels.ts";
import { redactor } from "./redact.ts";

export { readPolicyConfig, type PolicyConfig } from "./config.ts";
export type { CheckResult, Finding, JudgedResource, Remedied, StackResources } from "./findings.ts";

export interface CheckOptions extends AnalyzerOptions {
  /** Level and configuration of the rules; default: their own. */
  readonly config?: PolicyConfig;
  /** Rules that the pack has to have; default: all of the project's. */
  readonly rules?: readonly Rule[];
}

/** Judges stacks by the policy pack, over its own gRPC interface, as the engine does.
 *  @throws Error when a stack has no resources, or the pack cannot be loaded, lacks a rule, dies, or does not answer in
 *  time: nothing passes because it could not be judged. Secrets of the stacks are masked in what it says */
export async function checkStacks(stacks: readonly StackResources[], options: CheckOptions = {}): Promise<CheckResult> {
  const begun = performance.now();
  if (stacks.length === 0) throw new Error("there is no stack to judge");
  for (const { name, resources } of stacks)
    if (resources.length === 0) throw new Error(`the stack ${name} has no resources: there is nothing to judge`);
  const redact = redactor(stacks.flatMap(({ resources }) => resources));
  const findings: Finding[] = [];
  const remedied: Remedied[] = [];
  try {
    const rules = await withJudge(options, async (judge, running) => {
      for (const stack of stacks) {
        const result = await judgeStack(judge, stack);
        findings.push(...inOrder(result.findings, judge).map((one) => ({ ...one, message: redact(one.message) })));
        remedied.push(...result.remedied);
      }
      return running;
    });
    return { findings, remedied, rules, millis: Math.round(performance.now() - begun) };
  } catch (error) {
    options.signal?.throwIfAborted();
    // No cause: it would show what is masked here.
    throw new Error(redact(error instanceof Error ? error.message : String(error)));
  }
}

/** Starts the pack, checks that it is the one that is meant, configures it, and ends it whatever happens.
 *  @param work gets the judge, and the number of rules that are not disabled */
export async function withJudge<Result>(
  options: CheckOptions,
  work: (judge: Judge, running: number) => Promise<Result>,
): Promise<Result> {
  const analyzer = await Analyzer.start(options);
  try {
    const info = await analyzer.info();
    const rules = rulesIn(info);
    mustHave([...rules.keys()], options.rules ?? RULES);
    const config = resolveConfig(defaultsOf(rules), options.config);
    await analyzer.configure(config);
    const levels = Object.values(config).map(({ level }) => level);
    const remediates = levels.includes("remediate");
    return await work({ analyzer, rules, remediates }, levels.filter((level) => level !== "disabled").length);
  } finally {
    await analyzer.end();
  }
}

/** A pack without rules would pass everything. */
function mustHave(found: readonly string[], rules: readonly Rule[]): void {
  const names = rules.map(({ name }) => name);
  const missing = names.filter((name) => !found.includes(name));
  const more = found.filter((name) => !names.includes(name));
  if (missing.length > 0) throw new Error(`the policy pack lacks ${missing.join(", ")}`);
  if (more.length > 0) throw new Error(`the policy pack has rules that are not known here: ${more.join(", ")}`);
}

function defaultsOf(rules: Judge["rules"]): Record<string, RuleDefaults> {
  return Object.fromEntries(
    [...rules].map(([name, info]) => {
      const keys = Object.entries(info.getConfigschema()?.getProperties()?.toJavaScript() ?? {});
      const properties = keys.flatMap(([key, schema]) => {
        const value = (schema as { default?: unknown } | null)?.default;
        return value === undefined ? [] : [[key, value] as const];
      });
      return [name, { level: levelName(info.getEnforcementlevel()), properties: Object.fromEntries(properties) }];
    }),
  );
}

/** By rule, in the order of the pack; of one rule in the order of the resources. */
function inOrder(findings: readonly Finding[], { rules }: Judge): Finding[] {
  const order = [...rules.keys()];
  return [...findings].sort((a, b) => order.indexOf(a.rule) - order.indexOf(b.rule));
}

import { readFileSync } from "node:fs";
import type { EnforcementLevel } from "@pulumi/policy";
import { configProblems, type Rule } from "../../policies/rule.ts";
import { RULES } from "../../policies/rules/index.ts";
import { LEVELS } from "./levels.ts";

/** Name under which the level of every rule is set. */
const ALL = "all";
/** Key that holds the level beside a rule's own keys. */
const LEVEL = "enforcementLevel";

/** What is set for a rule. */
export interface RuleConfig {
  readonly level?: EnforcementLevel;
  readonly properties: Readonly<Record<string, unknown>>;
}

/** What is set, by rule; under `all` the level of those that are not set one by one. */
export type PolicyConfig = Readonly<Record<string, RuleConfig>>;

/** What every rule runs with. */
export type ResolvedConfig = Readonly<Record<string, Required<RuleConfig>>>;

/** What the pack says of a rule's configuration. */
export interface RuleDefaults {
  readonly level: EnforcementLevel;
  /** Default by key, of those that have one. */
  readonly properties: Readonly<Record<string, unknown>>;
}

/** Reads a file in the form of the engine's `--policy-pack-config`: JSON with a level (`"advisory"`) or an object of
 *  keys and `enforcementLevel` for each rule, and `all` for the level of all of them.
 *  @throws Error with every problem: what the engine would let pass unseen, such as a mistyped name, too */
export function readPolicyConfig(file: string, rules: readonly Rule[] = RULES): PolicyConfig {
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(file, "utf8"));
  } catch (error) {
    throw new Error(`policy config ${file}: ${(error as Error).message}`, { cause: error });
  }
  try {
    return parsePolicyConfig(value, rules);
  } catch (error) {
    throw new Error(`${file}:\n${(error as Error).message}`, { cause: error });
  }
}

/** The same of what a file holds. */
export function parsePolicyConfig(value: unknown, rules: readonly Rule[] = RULES): PolicyConfig {
  if (!isRecord(value)) throw new Error(`policy config: found ${shown(value)}; an object of rules is expected`);
  const problems: string[] = [];
  const config: Record<string, RuleConfig> = {};
  for (const [name, given] of Object.entries(value)) {
    const rule = rules.find((one) => one.name === name);
    if (!rule && name !== ALL) {
      problems.push(`policy config ${name}: unknown rule; rules are ${[ALL, ...rules.map((r) => r.name)].join(", ")}`);
      continue;
    }
    const parsed = parseRule(name, given, problems);
    if (!parsed) continue;
    problems.push(...keyProblems(name, rule, parsed.properties));
    config[name] = parsed;
  }
  if (problems.length > 0) throw new Error(problems.join("\n"));
  return config;
}

function parseRule(name: string, given: unknown, problems: string[]): RuleConfig | undefined {
  if (isRecord(given)) {
    const { [LEVEL]: level, ...properties } = given;
    if (level === undefined) return { properties };
    if (isLevel(level)) return { level, properties };
    problems.push(`policy config ${name}.${LEVEL}: found ${shown(level)}; levels are ${LEVELS.join(", ")}`);
    return undefined;
  }
  if (isLevel(given)) return { level: given, properties: {} };
  const wanted = typeof given === "string" ? "" : "an object of its keys or a level is expected; ";
  problems.push(`policy config ${name}: found ${shown(given)}; ${wanted}levels are ${LEVELS.join(", ")}`);
  return undefined;
}

/** A rule's keys against its own schema. */
function keyProblems(name: string, rule: Rule | undefined, properties: RuleConfig["properties"]): string[] {
  const keys = Object.keys(rule?.config?.shape ?? {});
  const allowed = [...keys, LEVEL].join(", ");
  const unknown = Object.keys(properties)
    .filter((key) => !keys.includes(key))
    .map((key) => `policy config ${name}.${key}: unknown key; keys are ${allowed}`);
  const known = Object.fromEntries(Object.entries(properties).filter(([key]) => keys.includes(key)));
  const result = rule?.config?.safeParse(known, { reportInput: true });
  return result && !result.success ? [...unknown, ...configProblems(name, result.error)] : unknown;
}

/** What the engine would tell the pack: the rules' own levels and defaults, over them the level of `all`, over that what
 *  is set for a rule. */
export function resolveConfig(
  defaults: Readonly<Record<string, RuleDefaults>>,
  given: PolicyConfig = {},
): ResolvedConfig {
  return Object.fromEntries(
    Object.entries(defaults).map(([name, own]) => [
      name,
      {
        level: given[name]?.level ?? given[ALL]?.level ?? own.level,
        properties: { ...own.properties, ...given[name]?.properties },
      },
    ]),
  );
}

function isLevel(value: unknown): value is EnforcementLevel {
  return LEVELS.some((level) => level === value);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function shown(value: unknown): string {
  return JSON.stringify(value) ?? "nothing";
}

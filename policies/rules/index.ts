import type { Rule } from "../rule.ts";
import { continuityRules } from "./continuity/index.ts";
import { objectiveRules } from "./objectives/index.ts";
import { changeRules } from "./change/index.ts";
import { poolRules } from "./pools/index.ts";
import { replicationRules } from "./replication/index.ts";
import { securityRules } from "./security/index.ts";

/** A chapter of the pack. */
export interface RuleGroup {
  readonly title: string;
  readonly rules: readonly Rule[];
}

/** Every rule of the pack, by chapter. */
export const RULE_GROUPS: readonly RuleGroup[] = [
  { title: "Pools", rules: poolRules },
  { title: "Replication", rules: replicationRules },
  { title: "Objectives", rules: objectiveRules },
  { title: "Continuity", rules: continuityRules },
  { title: "Security", rules: securityRules },
  { title: "Change", rules: changeRules },
];

/** Every rule of the pack. */
export const RULES: readonly Rule[] = RULE_GROUPS.flatMap(({ rules }) => rules);

import type { EnforcementLevel } from "@pulumi/policy";
import analyzer from "@pulumi/pulumi/proto/analyzer_pb.js";

const { ADVISORY, MANDATORY, DISABLED, REMEDIATE } = analyzer.EnforcementLevel;
const NUMBERS = { advisory: ADVISORY, mandatory: MANDATORY, remediate: REMEDIATE, disabled: DISABLED } as const;

/** Levels that a rule may have, as people write them. */
export const LEVELS = Object.keys(NUMBERS) as readonly EnforcementLevel[];

export function levelNumber(level: EnforcementLevel): analyzer.EnforcementLevel {
  return NUMBERS[level];
}

/** @throws Error for a number that this version of the protocol does not have */
export function levelName(number: number): EnforcementLevel {
  const level = LEVELS.find((name) => NUMBERS[name] === number);
  if (level === undefined)
    throw new Error(`the policy pack answers with the enforcement level ${number}, which is none`);
  return level;
}

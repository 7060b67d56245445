import { PolicyPack } from "@pulumi/policy";
import { refuseUnknownRules } from "./names.ts";
import { RULES } from "./rules/index.ts";

/** Name of the pack in findings and in the engine's output. */
export const PACK = "iam-ha";

refuseUnknownRules(RULES.map(({ name }) => name));
new PolicyPack(PACK, { policies: RULES.map(({ policy }) => policy), enforcementLevel: "mandatory" });

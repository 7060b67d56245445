import { PolicyPack } from "@pulumi/policy";
import { RULES } from "./rules/index.ts";

/** Name of the pack in findings and in the engine's output. */
export const PACK = "iam-ha";

new PolicyPack(PACK, { policies: RULES.map(({ policy }) => policy), enforcementLevel: "mandatory" });

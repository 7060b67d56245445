import type { Rule } from "../../rule.ts";
import { recoveryPoint } from "./recovery-point.ts";
import { recoveryTime } from "./recovery-time.ts";

/** How long a fault may keep a function away, and how much it may cost, §5.4.4. */
export const objectiveRules: readonly Rule[] = [recoveryTime, recoveryPoint];

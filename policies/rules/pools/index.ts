import type { Rule } from "../../rule.ts";
import { poolSize } from "./pool-size.ts";
import { poolSum } from "./pool-sum.ts";
import { poolTimeouts } from "./pool-timeouts.ts";

/** Connections to the database, §5.2.3. */
export const poolRules: readonly Rule[] = [poolSize, poolTimeouts, poolSum];

import type { Rule } from "../../rule.ts";
import { activeRegionPinned } from "./active-region-pinned.ts";
import { leaseMargin } from "./lease-margin.ts";
import { oneActiveRegion } from "./one-active-region.ts";
import { witnessMembers } from "./witness-members.ts";

/** One region is active, and only one, §5.4.1. */
export const continuityRules: readonly Rule[] = [oneActiveRegion, activeRegionPinned, leaseMargin, witnessMembers];

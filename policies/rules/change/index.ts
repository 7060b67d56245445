import type { Rule } from "../../rule.ts";
import { complete } from "./complete.ts";
import { dataProtected } from "./data-protected.ts";
import { ownProvider } from "./own-provider.ts";
import { volumesRetained } from "./volumes-retained.ts";

/** What a change may not do. */
export const changeRules: readonly Rule[] = [dataProtected, volumesRetained, ownProvider, complete];

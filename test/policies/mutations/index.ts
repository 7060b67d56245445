import type { Mutation } from "../mutation.ts";
import { continuityMutations } from "./continuity.ts";
import { objectiveMutations } from "./objectives.ts";
import { changeMutations } from "./change.ts";
import { poolMutations } from "./pools.ts";
import { replicationMutations } from "./replication.ts";
import { securityMutations } from "./security.ts";

/** Every mutation, in the order of the rules. */
export const MUTATIONS: readonly Mutation[] = [
  ...poolMutations,
  ...replicationMutations,
  ...objectiveMutations,
  ...continuityMutations,
  ...securityMutations,
  ...changeMutations,
];

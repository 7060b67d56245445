import type { Mutation } from "../mutation.ts";
import { continuityMutations } from "./continuity.ts";
import { objectiveMutations } from "./objectives.ts";
import { poolMutations } from "./pools.ts";
import { replicationMutations } from "./replication.ts";

/** Every mutation, in the order of the rules. */
export const MUTATIONS: readonly Mutation[] = [
  ...poolMutations,
  ...replicationMutations,
  ...objectiveMutations,
  ...continuityMutations,
];

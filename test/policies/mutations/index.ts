import type { Mutation } from "../mutation.ts";
import { poolMutations } from "./pools.ts";
import { replicationMutations } from "./replication.ts";

/** Every mutation, in the order of the rules. */
export const MUTATIONS: readonly Mutation[] = [...poolMutations, ...replicationMutations];

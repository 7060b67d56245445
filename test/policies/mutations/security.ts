import type { Mutation } from "../mutation.ts";
import { accessMutations } from "./access.ts";
import { networkMutations } from "./network.ts";
import { podMutations } from "./pods.ts";
import { secretMutations } from "./secrets.ts";
import { tlsMutations } from "./tls.ts";
import { workloadMutations } from "./workloads.ts";

/** Of the chapter on security. */
export const securityMutations: readonly Mutation[] = [
  ...secretMutations,
  ...tlsMutations,
  ...networkMutations,
  ...podMutations,
  ...accessMutations,
  ...workloadMutations,
];

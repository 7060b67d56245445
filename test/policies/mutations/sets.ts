import type { Mutation } from "../mutation.ts";

/** Changes how many pods a StatefulSet has. */
export const replicas =
  (set: string, count: number): Mutation["change"] =>
  (stack) =>
    (stack.object("StatefulSet", set)["spec"].replicas = count);

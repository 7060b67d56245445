import type { Mutation } from "../mutation.ts";

const ini =
  (from: RegExp, to: string): Mutation["change"] =>
  (stack) =>
    stack.file("pgbouncer-config", "pgbouncer.ini", (text) => text.replace(from, to));

export const poolMutations: readonly Mutation[] = [
  {
    rule: "pool-size",
    breaks: "max over 100",
    says: /iam_ro: found pool_size 101; at most 100/,
    change: ini(/pool_size=20 min_pool_size=5/, "pool_size=101 min_pool_size=5"),
  },
  {
    rule: "pool-size",
    breaks: "min under 1",
    says: /iam: found min_pool_size 0; at least 1/,
    change: ini(/ min_pool_size=2 /, " min_pool_size=0 "),
  },
  {
    rule: "pool-size",
    breaks: "min over max",
    says: /iam: found min_pool_size 11 over pool_size 10/,
    change: ini(/ min_pool_size=2 /, " min_pool_size=11 "),
  },
];

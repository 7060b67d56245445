import type { Mutation } from "../mutation.ts";
import { parameter } from "./patroni.ts";

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
  {
    rule: "pool-timeouts",
    breaks: "acquire under 1000 ms",
    says: /found query_wait_timeout 999 ms; at least 1000 ms/,
    change: ini(/query_wait_timeout = 30$/m, "query_wait_timeout = 0.999"),
  },
  {
    rule: "pool-timeouts",
    breaks: "no limit to acquiring",
    says: /found query_wait_timeout 0 ms \(no limit\); at least 1000 ms/,
    change: ini(/query_wait_timeout = 30$/m, "query_wait_timeout = 0"),
  },
  {
    rule: "pool-timeouts",
    breaks: "idle under 5000 ms",
    says: /found server_idle_timeout 4999 ms; at least 5000 ms/,
    change: ini(/server_idle_timeout = 30$/m, "server_idle_timeout = 4.999"),
  },
  {
    rule: "pool-sum",
    breaks: "pools over max_connections",
    says: /max_connections: found 200; at least 40 of pool iam \(10 × 2 pooler pods and their successors\) \+ 160 of pool iam_ro .* \+ 4 of Patroni \+ 1 of the reconciler \+ 2 of pg_rewind \+ 2 of the region controller \+ 1 of monitoring \+ 3 reserved for superusers = 213 are needed/,
    change: ini(
      /pool_size=20 min_pool_size=5 max_db_connections=20/,
      "pool_size=40 min_pool_size=5 max_db_connections=40",
    ),
  },
  {
    rule: "pool-sum",
    breaks: "a third pool without room",
    says: /\+ 80 of pool iam_admin \(20 × .* = 213 are needed/,
    change: ini(/(^iam_ro = .*$)/m, "$1\niam_admin = user=iam_app pool_size=20 min_pool_size=1"),
  },
  {
    rule: "pool-sum",
    breaks: "a pool for every user, without a bound",
    says: /iam_admin: has neither max_db_connections nor a user/,
    change: ini(/(^iam_ro = .*$)/m, "$1\niam_admin = pool_size=1 min_pool_size=1"),
  },
  {
    rule: "pool-sum",
    breaks: "more poolers than their pools have room for",
    says: /240 of pool iam_ro \(20 × 6 pooler pods and their successors\)/,
    change: (stack) => (stack.object("Deployment", "pgbouncer")["spec"].replicas = 6),
  },
  {
    rule: "pool-sum",
    breaks: "max_connections too small",
    says: /max_connections: found 132; .* = 133 are needed/,
    change: parameter("max_connections", 132),
  },
  {
    rule: "pool-sum",
    breaks: "too many connections reserved",
    says: /\+ 3 reserved for superusers \+ 68 reserved for members of pg_use_reserved_connections = 201 are needed/,
    change: parameter("reserved_connections", 68),
  },
];

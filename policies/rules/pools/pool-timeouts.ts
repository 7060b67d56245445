import { z } from "zod";
import { numberOf, poolerIn } from "../../facts/pooler.ts";
import { resourceRule } from "../../rule.ts";

const config = z.strictObject({
  acquireMillis: z
    .int()
    .min(1)
    .default(1000)
    .describe("shortest time that a query may wait for a connection, milliseconds, §5.2.3"),
  idleMillis: z
    .int()
    .min(1)
    .default(5000)
    .describe("shortest time that an unused connection stays open, milliseconds, §5.2.3"),
});

/** PgBouncer takes seconds, with a fraction, and 0 for "no limit". */
const SETTINGS = [
  { key: "query_wait_timeout", limit: "acquireMillis" },
  { key: "server_idle_timeout", limit: "idleMillis" },
] as const;

export const poolTimeouts = resourceRule({
  name: "pool-timeouts",
  description: "A query waits long enough for a connection, and an unused connection stays open long enough.",
  severity: "medium",
  why: '§5.2.3 of the design: acquire ≥ 1000 ms, idle ≥ 5000 ms. A query that gives up within a second fails in every switchover; connections that close after a moment are made anew all day. 0 is PgBouncer\'s "no limit": clients would wait for ever for a database that is gone.',
  remediation:
    "Set acquireTimeoutMillis and idleTimeoutMillis of iam-ha:pooler.write and iam-ha:pooler.read, the same in both.",
  config,
  check({ resource, config, report }) {
    const pooler = poolerIn(resource);
    if (!pooler) return;
    const where = 'data["pgbouncer.ini"] [pgbouncer]';
    for (const { key, limit } of SETTINGS) {
      const millis = numberOf(pooler.settings, key, where) * 1000;
      if (millis < config[limit])
        report(
          `${where}: found ${key} ${millis} ms${millis === 0 ? " (no limit)" : ""}; at least ${config[limit]} ms is needed`,
        );
    }
  },
});

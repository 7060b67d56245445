import { z } from "zod";
import { numberOf, poolerIn } from "../../facts/pooler.ts";
import { resourceRule } from "../../rule.ts";

const config = z.strictObject({
  maximum: z.int().min(1).default(100).describe("most connections that one pool may open to a server, §5.2.3"),
  minimum: z.int().min(1).default(1).describe("fewest connections that one pool keeps open, §5.2.3"),
});

export const poolSize = resourceRule({
  name: "pool-size",
  description: "Every pool keeps at least one connection open, and opens no more than its maximum and 100.",
  severity: "high",
  why: "§5.2.3 of the design: max ≥ min, max ≤ 100, min ≥ 1. Over 100 connections a primary spends its time on switching between them; with no minimum the first requests after a quiet time wait for a handshake each.",
  remediation: "Set iam-ha:pooler.write and iam-ha:pooler.read (max, min, or their load) within these limits.",
  config,
  check({ resource, config, report }) {
    const pooler = poolerIn(resource);
    if (!pooler) return;
    for (const { entry, settings } of pooler.pools) {
      const where = `data["pgbouncer.ini"] [databases] ${entry}`;
      const max = numberOf(settings, "pool_size", where);
      const min = numberOf(settings, "min_pool_size", where);
      if (max > config.maximum) report(`${where}: found pool_size ${max}; at most ${config.maximum} is allowed`);
      if (min < config.minimum) report(`${where}: found min_pool_size ${min}; at least ${config.minimum} is needed`);
      if (min > max) report(`${where}: found min_pool_size ${min} over pool_size ${max}; it must not be greater`);
    }
  },
});

import { z } from "zod";
import { CONF_PATH, directive, redisConfIn } from "../../facts/redis.ts";
import { resourceRule } from "../../rule.ts";

const config = z.strictObject({
  evictionPolicies: z
    .array(z.string())
    .min(1)
    .default(["noeviction"])
    .describe("what a full node may do; everything but noeviction logs people out, as sessions have a time to live"),
});

export const redisDurability = resourceRule({
  name: "redis-durability",
  description: "Redis keeps sessions in its append-only file, on disk within a second, and never drops them for room.",
  severity: "high",
  why: "§5.3.1 of the design (appendonly). Without the file a node that restarts comes back empty, and with appendfsync no it loses what the system had not yet written, half a minute and more. A node that evicts when it is full logs people out in silence; one that refuses writes is seen at once.",
  remediation:
    "Set iam-ha:redis.appendFsync to everysec or always, and iam-ha:redis.evictionPolicy to noeviction; raise iam-ha:redis.resources.memory where it is full.",
  config,
  check({ resource, config, report }) {
    const conf = redisConfIn(resource);
    if (!conf) return;
    const allowed: Record<string, readonly string[]> = {
      appendonly: ["yes"],
      appendfsync: ["everysec", "always"],
      "maxmemory-policy": config.evictionPolicies,
    };
    for (const [name, values] of Object.entries(allowed)) {
      const value = directive(conf, name).toLowerCase();
      if (!values.includes(value)) report(`${CONF_PATH}: found ${name} ${value}; must be ${values.join(" or ")}`);
    }
  },
});

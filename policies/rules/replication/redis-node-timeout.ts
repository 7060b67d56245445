import { z } from "zod";
import { CONF_PATH, directive, redisConfIn } from "../../facts/redis.ts";
import { CannotJudge } from "../../facts/stack.ts";
import { resourceRule } from "../../rule.ts";

const config = z.strictObject({
  minimumMillis: z
    .int()
    .min(1)
    .default(1000)
    .describe("shortest silence after which a master may be replaced, milliseconds"),
  maximumMillis: z
    .int()
    .min(1)
    .default(5000)
    .describe("longest silence after which a master must be replaced, milliseconds, §5.3.1"),
});

export const redisNodeTimeout = resourceRule({
  name: "redis-node-timeout",
  description: "A silent Redis master is replaced after five seconds at most, and not for a mere hiccup.",
  severity: "high",
  why: "§5.3.1 of the design: 5 s. Its replica serves 1 to 2 s after that, and until then its share of the sessions is away. A time under a second takes a saving of the append-only file, or a moment without CPU, for a death.",
  remediation: "Set iam-ha:redis.nodeTimeoutMillis within the limits.",
  config,
  check({ resource, config, report }) {
    const conf = redisConfIn(resource);
    if (!conf) return;
    const text = directive(conf, "cluster-node-timeout");
    if (!/^[0-9]+$/.test(text)) throw new CannotJudge(`${CONF_PATH}: cluster-node-timeout ${text} is no number`);
    const millis = Number(text);
    const { minimumMillis: least, maximumMillis: most } = config;
    if (millis < least || millis > most)
      report(`${CONF_PATH}: found cluster-node-timeout ${millis} ms; must be from ${least} to ${most} ms`);
  },
});

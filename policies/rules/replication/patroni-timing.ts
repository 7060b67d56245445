import { numberIn, patroniIn } from "../../facts/postgres.ts";
import { resourceRule } from "../../rule.ts";

/** Least values that Patroni takes, in seconds; it puts smaller ones up, and only its log says so. */
const LEAST = { ttl: 20, retry_timeout: 3, loop_wait: 1 } as const;

export const patroniTiming = resourceRule({
  name: "patroni-timing",
  description: "Patroni's leader key outlives one round and two failed tries: loop_wait + 2 × retry_timeout ≤ ttl.",
  severity: "high",
  why: "Otherwise a primary whose API server is slow for a moment loses its key, and is demoted while nothing is wrong with it. Patroni changes values that break the rule, or are under its least ones (ttl 20, retry_timeout 3, loop_wait 1), by itself; then nothing that was reckoned from the written ones holds.",
  remediation:
    "Raise iam-ha:postgres.patroni.ttlSeconds, or lower loopWaitSeconds or retryTimeoutSeconds, within their least values.",
  check({ resource, report }) {
    const patroni = patroniIn(resource);
    if (!patroni) return;
    const { shared } = patroni;
    const [ttl, retry, wait] = (["ttl", "retry_timeout", "loop_wait"] as const).map((name) => {
      const seconds = numberIn(shared, name);
      if (seconds < LEAST[name])
        report(`${shared.where}.${name}: found ${seconds} s; Patroni takes no less than ${LEAST[name]} s`);
      return seconds;
    }) as [number, number, number];
    if (wait + 2 * retry > ttl)
      report(
        `${shared.where}.ttl: found ${ttl} s; at least loop_wait + 2 × retry_timeout = ${wait} + 2 × ${retry} = ${wait + 2 * retry} s is needed`,
      );
  },
});

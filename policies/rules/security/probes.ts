import { z } from "zod";
import { componentOf } from "../../facts/stack.ts";
import { containersOf, type Container } from "../../facts/pods.ts";
import { workloadIn } from "../../facts/workloads.ts";
import { resourceRule } from "../../rule.ts";

const exception = z.strictObject({
  container: z.string().regex(/^[^/]+\/[^/]+$/, "must be <component>/<container>"),
  probe: z.enum(["liveness", "readiness"]),
  reason: z.string().min(1),
});

const config = z.strictObject({
  without: z
    .array(exception)
    .default([
      {
        container: "postgresql/reconciler",
        probe: "readiness",
        reason: "it serves nobody: a pod whose database serves must not leave its Services for it",
      },
      {
        container: "pgbouncer/haproxy",
        probe: "readiness",
        reason: "it starts before PgBouncer and serves it alone; with no database at all clients wait at PgBouncer",
      },
      {
        container: "global-dns/dns-sidecar",
        probe: "readiness",
        reason: "without it CoreDNS still gives the last answer, which is better than none",
      },
    ])
    .describe("containers that go without a probe, and why"),
});

interface Probe {
  readonly initialDelaySeconds?: number;
}

export const probes = resourceRule({
  name: "probes",
  description:
    "Every container that runs all the time has a liveness and a readiness probe, and time to start before it is judged.",
  severity: "medium",
  why: "Without liveness a process that hangs stays for ever; without readiness requests go to pods that cannot serve, and a rollout goes on over broken ones; a liveness probe that begins at once restarts what is slow to start, again and again.",
  remediation:
    "Give the container both probes, each asking for its own process alone, and a startup probe or initialDelaySeconds. List what has a reason to go without under `without`.",
  config,
  check({ resource, config, report }) {
    const pod = workloadIn(resource);
    if (!pod) return;
    for (const { path, container, init } of containersOf(pod)) {
      if (init && container.restartPolicy !== "Always") continue;
      const name = `${componentOf(resource)}/${container.name}`;
      for (const probe of ["liveness", "readiness"] as const) {
        const has = container[`${probe}Probe`] !== undefined;
        const excused = config.without.some((one) => one.container === name && one.probe === probe);
        if (!has && !excused) report(`${path}.${probe}Probe: found none for ${container.name}; it is needed`);
        if (has && excused) report(`${path}.${probe}Probe: found one, and ${name} is also listed as going without`);
      }
      if (container.livenessProbe !== undefined && !hasTimeToStart(container))
        report(
          `${path}.livenessProbe: found neither initialDelaySeconds nor a startupProbe beside it; one of them is needed`,
        );
    }
  },
});

function hasTimeToStart(container: Container): boolean {
  const delay = (container.livenessProbe as Probe).initialDelaySeconds ?? 0;
  return container.startupProbe !== undefined || delay > 0;
}

import { containersOf, podOf } from "../../facts/pods.ts";
import { resourceRule } from "../../rule.ts";

const FIELDS = [
  ["requests", "cpu"],
  ["requests", "memory"],
  ["limits", "cpu"],
  ["limits", "memory"],
] as const;

/** Quantities of nothing: as good as none. */
const NOTHING = /^0+(\.0+)?([A-Za-z]*)$/;

export const resources = resourceRule({
  name: "resources",
  description: "Every container, among them those that prepare a pod, requests CPU and memory and is limited in both.",
  severity: "high",
  why: "Without requests the scheduler fills a node until its pods are evicted, databases among them; without limits one process that runs wild takes the others of its node along.",
  remediation: "Give the component its resources (cpu, cpuLimit, memory); containerDefaults makes both parts of them.",
  check({ resource, report }) {
    const pod = podOf(resource);
    if (!pod) return;
    for (const { path, container } of containersOf(pod)) {
      for (const [part, name] of FIELDS) {
        const found = container.resources?.[part]?.[name];
        if (found === undefined || NOTHING.test(String(found)))
          report(
            `${path}.resources.${part}.${name}: found ${JSON.stringify(found) ?? "nothing"}; a quantity is needed`,
          );
      }
    }
  },
});

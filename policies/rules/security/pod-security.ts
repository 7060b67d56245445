import { containersOf, podOf } from "../../facts/pods.ts";
import { breachesOf, type GuardedPod, type SecurityContext } from "../../facts/restricted.ts";
import { resourceRule } from "../../rule.ts";

export const podSecurity = resourceRule({
  name: "pod-security",
  description:
    "Every pod keeps to the profile restricted of the Pod Security Standards, and no container can write to its root file system.",
  severity: "high",
  why: "Who takes over one process must not get from there to the node or to another pod, nor leave anything behind in the container. The API server refuses pods that break the profile only when they are made: a rollout would stop half-way.",
  remediation:
    "Take securityContext from podDefaults and containerDefaults (components/common/pod.ts), and mount a volume where the process has to write. At level remediate, allowPrivilegeEscalation, capabilities.drop and a missing seccompProfile are set right.",
  check({ resource, report }) {
    const pod = podOf(resource);
    if (!pod) return;
    for (const { path, found, allowed } of breachesOf(pod))
      report(`${path}: found ${show(found)}; allowed is ${allowed}`);
    for (const { path, container } of containersOf(pod)) {
      const found = container.securityContext?.readOnlyRootFilesystem;
      if (found !== true)
        report(`${path}.securityContext.readOnlyRootFilesystem: found ${show(found)}; it must be true`);
    }
  },
  remedy(props, { resource }) {
    const pod = podOf({ ...resource, props });
    if (!pod) return false;
    const spec = pod.spec as unknown as GuardedPod;
    let changed = false;
    for (const container of [...(spec.initContainers ?? []), ...(spec.containers ?? [])]) {
      const own: SecurityContext = (container.securityContext ??= {});
      if (own.allowPrivilegeEscalation !== false) {
        own.allowPrivilegeEscalation = false;
        changed = true;
      }
      if (!own.capabilities?.drop?.includes("ALL")) {
        own.capabilities = { ...own.capabilities, drop: ["ALL"] };
        changed = true;
      }
      if (own.seccompProfile?.type === undefined && spec.securityContext?.seccompProfile?.type === undefined) {
        own.seccompProfile = { type: "RuntimeDefault" };
        changed = true;
      }
    }
    return changed;
  },
});

function show(value: unknown): string {
  return JSON.stringify(value) ?? "nothing";
}

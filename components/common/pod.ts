import type * as k8s from "@pulumi/kubernetes";
import { selectorOf, type RegionContext } from "./context.ts";
import type { Resources } from "./schema.ts";

type PodSpec = k8s.types.input.core.v1.PodSpec;
type Container = k8s.types.input.core.v1.Container;

/** User and group of every process in the project's images (see images/). */
export const RUN_AS = 10001;

/** Security context of a pod under the Pod Security standard "restricted". */
export const podSecurity: k8s.types.input.core.v1.PodSecurityContext = {
  runAsNonRoot: true,
  runAsUser: RUN_AS,
  runAsGroup: RUN_AS,
  fsGroup: RUN_AS,
  // A volume with many files is not walked again at each start of its pod.
  fsGroupChangePolicy: "OnRootMismatch",
  seccompProfile: { type: "RuntimeDefault" },
};

/** Security context of a container under "restricted", with a read-only root file system. */
export const containerSecurity: k8s.types.input.core.v1.SecurityContext = {
  allowPrivilegeEscalation: false,
  readOnlyRootFilesystem: true,
  capabilities: { drop: ["ALL"] },
};

/** What every container of the project has in common. */
export function containerDefaults(
  ctx: RegionContext,
  resources: Resources,
): Pick<Container, "imagePullPolicy" | "securityContext" | "resources"> {
  return {
    imagePullPolicy: ctx.images.pullPolicy,
    securityContext: containerSecurity,
    resources: {
      requests: { cpu: resources.cpu, memory: resources.memory },
      limits: { cpu: resources.cpuLimit, memory: resources.memory },
    },
  };
}

/** What every pod of the project has in common: restricted, spread over nodes and zones, no service-account token and
 *  no service environment variables (they leak addresses and slow the start of pods in large namespaces). */
export function podDefaults(ctx: RegionContext, component: string): Partial<PodSpec> {
  return {
    automountServiceAccountToken: false,
    enableServiceLinks: false,
    securityContext: podSecurity,
    imagePullSecrets: ctx.images.pullSecrets.map((name) => ({ name })),
    topologySpreadConstraints: spread(ctx, component),
  };
}

/** Over nodes as a demand where the cluster has several, over zones as a wish. */
function spread(ctx: RegionContext, component: string): k8s.types.input.core.v1.TopologySpreadConstraint[] {
  const labelSelector = { matchLabels: selectorOf(ctx, component) };
  return [
    {
      maxSkew: 1,
      topologyKey: "kubernetes.io/hostname",
      whenUnsatisfiable: ctx.multiNode ? "DoNotSchedule" : "ScheduleAnyway",
      labelSelector,
    },
    { maxSkew: 1, topologyKey: "topology.kubernetes.io/zone", whenUnsatisfiable: "ScheduleAnyway", labelSelector },
  ];
}

/** A volume in memory for what a process must write at run time (sockets, generated config, temporary files). */
export function memoryVolume(name: string, sizeLimit: string): k8s.types.input.core.v1.Volume {
  return { name, emptyDir: { medium: "Memory", sizeLimit } };
}

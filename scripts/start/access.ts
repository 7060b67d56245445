import type { DeployedRegion } from "../deployment.ts";
import type { ClusterAccess } from "../kubernetes.ts";

/** How to talk to a deployed region's cluster. */
export function accessTo({ kubectl, kubeconfig, context }: DeployedRegion): ClusterAccess {
  return { kubectl, kubeconfig, context };
}

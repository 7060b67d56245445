import type { DeployedRegion } from "../deployment.ts";
import type { ClusterAccess } from "../kubernetes.ts";
import { kubectlPath } from "../local/index.ts";

/** How to talk to a deployed region's cluster: with our own kubectl to an embedded one, with the user's elsewhere. */
export function accessTo(place: DeployedRegion): ClusterAccess {
  return { kubectl: place.embedded ? kubectlPath() : "kubectl", kubeconfig: place.kubeconfig, context: place.context };
}

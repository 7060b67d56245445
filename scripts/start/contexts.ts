import type { ListrTask } from "listr2";
import { homedir } from "node:os";
import { join } from "node:path";
import type { DeployedRegion } from "../deployment.ts";
import { kubectl } from "../kubernetes.ts";
import { accessTo } from "./access.ts";
import type { StartContext } from "./context.ts";
import { byPriority } from "./order.ts";

/** The step that takes clusters of the user's own, by kubeconfig context. Nothing on this machine is touched; images
 *  come from the registry that Pulumi.<region>.yaml names. */
export function contextStep(contexts: Readonly<Record<string, string>>): ListrTask<StartContext> {
  return {
    title: `Your clusters (${Object.entries(contexts)
      .map(([region, context]) => `${region}: ${context}`)
      .join(", ")})`,
    task: async (context) => {
      const places = clusterPlaces(contexts);
      for (const place of places)
        await kubectl(accessTo(place), ["get", "namespaces", "--request-timeout=10s"], { signal: context.signal });
      context.places = places;
    },
  };
}

/** Where the regions are in clusters of the user's own, in the order in which they are worked on. */
export function clusterPlaces(contexts: Readonly<Record<string, string>>): DeployedRegion[] {
  const kubeconfig = process.env["KUBECONFIG"]?.split(":")[0] || join(homedir(), ".kube", "config");
  return byPriority(Object.keys(contexts)).map((region) => ({
    region,
    kubectl: "kubectl",
    context: contexts[region]!,
    kubeconfig,
    clusterDomain: "cluster.local",
    embedded: false,
    namespace: "iam",
  }));
}

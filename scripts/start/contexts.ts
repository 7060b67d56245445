import type { ListrTask } from "listr2";
import { homedir } from "node:os";
import { join } from "node:path";
import type { DeployedRegion } from "../deployment.ts";
import { kubectl } from "../kubernetes.ts";
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
      const kubeconfig = process.env["KUBECONFIG"]?.split(":")[0] || join(homedir(), ".kube", "config");
      const places: DeployedRegion[] = [];
      for (const region of byPriority(Object.keys(contexts))) {
        const name = contexts[region]!;
        const place: DeployedRegion = {
          region,
          kubectl: "kubectl",
          context: name,
          kubeconfig,
          clusterDomain: "cluster.local",
          embedded: false,
          namespace: "iam",
        };
        await kubectl(
          { kubectl: "kubectl", kubeconfig, context: name },
          ["get", "namespaces", "--request-timeout=10s"],
          { signal: context.signal },
        );
        places.push(place);
      }
      context.places = places;
    },
  };
}

import type { ListrTask } from "listr2";
import { buildImages } from "../images/index.ts";
import { clusterDomain, contextName, hostPorts, importImages, kubeconfigPath, prepareHost, upRegions } from "../local/index.ts";
import type { StartContext } from "./context.ts";
import { describeProgress } from "./progress.ts";

/** Steps that make clusters of our own on this machine, one per region. */
export function embeddedSteps(regions: readonly string[]): ListrTask<StartContext>[] {
  return [
    {
      title: "Check this machine, build what the clusters run",
      task: (context, task) => prepareHost(regions, { instance: context.instance, signal: context.signal, onProgress: (event) => (task.output = describeProgress(event)) }),
    },
    {
      title: "Container images",
      task: async (context, task) => {
        context.images = await buildImages({
          signal: context.signal,
          onProgress: ({ image, step, detail, fraction }) => (task.output = describeProgress({ region: image, step, detail: detail ?? "", ...(fraction === undefined ? {} : { fraction }) })),
        });
      },
    },
    {
      title: `Kubernetes (${regions.join(", ")})`,
      task: async (context, task) => {
        await upRegions(regions, { instance: context.instance, signal: context.signal, onProgress: (event) => (task.output = describeProgress(event)) });
        context.places = regions.map((region) => {
          const ports = hostPorts(region, context.instance);
          return {
            region,
            context: contextName(region),
            kubeconfig: kubeconfigPath(context.instance),
            clusterDomain: clusterDomain(region),
            embedded: true,
            namespace: "iam",
            edge: { address: "127.0.0.1", httpsPort: ports.https, httpPort: ports.http },
          };
        });
      },
    },
    {
      title: "Images into the clusters",
      task: (context, task) =>
        Promise.all(
          regions.map((region) =>
            importImages(region, context.images, { instance: context.instance, signal: context.signal, onProgress: (event) => (task.output = describeProgress(event)) }),
          ),
        ),
    },
  ];
}

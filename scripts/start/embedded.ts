import type { ListrTask } from "listr2";
import { buildImages } from "../images/index.ts";
import {
  clusterDomain,
  contextName,
  hostPorts,
  importImages,
  kubeconfigPath,
  kubectlPath,
  parseRegion,
  PLATFORM,
  bringRegionsUp,
} from "../local/index.ts";
import type { StartContext } from "./context.ts";
import { eachRegion, noteFailure, throwIfNoneIsLeft } from "./each-region.ts";
import { byPriority } from "./order.ts";
import { describeProgress } from "./progress.ts";
import { timed } from "./timings.ts";

/** Steps that make clusters of our own on this machine, one per region. Clusters and images are made at the same time:
 *  the one mostly computes, the other mostly unpacks. */
export function embeddedSteps(names: readonly string[]): ListrTask<StartContext>[] {
  const regions = names.map(parseRegion);
  return [
    {
      title: "Clusters and images",
      task: (_context, task) =>
        task.newListr(
          [
            timed("clusters", {
              title: `Kubernetes for ${regions.join(", ")}`,
              task: async (context: StartContext, task) => {
                const { instance, signal } = context;
                const { up, failed } = await bringRegionsUp(regions, {
                  instance,
                  signal,
                  onProgress: (event) => (task.output = describeProgress(event)),
                });
                for (const { region, error } of failed) noteFailure(context, region, "bring its cluster up", error);
                const kubectl = await kubectlPath({ instance, signal });
                context.places = byPriority(up).map((region) => {
                  const ports = hostPorts(region, { instance });
                  return {
                    region,
                    kubectl,
                    context: contextName(region),
                    kubeconfig: kubeconfigPath({ instance }),
                    clusterDomain: clusterDomain(region),
                    embedded: true,
                    namespace: PLATFORM.namespace,
                    edge: { address: "127.0.0.1", httpsPort: ports.https, httpPort: ports.http },
                  };
                });
                throwIfNoneIsLeft(context);
              },
            }),
            timed("images", {
              title: "Container images",
              task: async (context: StartContext, task) => {
                context.images = await buildImages({
                  signal: context.signal,
                  onProgress: ({ image, step, detail, fraction }) =>
                    (task.output = describeProgress({
                      region: image,
                      step,
                      detail: detail ?? "",
                      ...(fraction === undefined ? {} : { fraction }),
                    })),
                });
              },
            }),
          ],
          // One that fails must not leave the other working on behind a prompt that is back.
          { concurrent: true, exitOnError: true },
        ),
    },
    timed("images into the clusters", {
      title: "Images into the clusters",
      task: async (context, task) => {
        const { instance, signal } = context;
        await eachRegion(context, "import the images", async ({ region }) => {
          await importImages(parseRegion(region), context.images, {
            instance,
            signal,
            onProgress: (event) => (task.output = describeProgress(event)),
          });
        });
      },
    }),
  ];
}

import type { DeployedRegion } from "../deployment.ts";
import type { BuiltImage } from "../images/index.ts";
import { addresses, dnsImage, parseRegion, PLATFORM } from "../local/index.ts";
import { committedOverlay, imageOverlay, machineOverlay, regionRole } from "../local/values/overlay.ts";
import { kubernetesObjects, type KubernetesObject } from "../render/objects.ts";
import { RandomState } from "../render/random-state.ts";
import { renderStack } from "../render/render.ts";
import type { ConfigTree } from "../render/stack-config.ts";
import { instanceFolder, randomFile } from "./folders.ts";

/** What `start` lays over a region's stack file. It holds secrets. */
export async function overlaysFor(
  instance: string,
  images: readonly BuiltImage[],
  place: DeployedRegion,
): Promise<ConfigTree[]> {
  const machine = await machineOverlay(place, {
    stateFolder: instanceFolder(instance),
    domain: PLATFORM.domain,
    namespace: place.namespace,
    ...(place.edge ? { httpsPort: place.edge.httpsPort } : {}),
  });
  const committed = committedOverlay(regionRole(place.region));
  if (place.embedded) {
    // The clusters' own DNS forwards the platform's name to the service address of each region's name servers.
    const dns = {
      globalDns: {
        image: await dnsImage({ instance }),
        service: { clusterIP: addresses(parseRegion(place.region)).globalDns },
      },
    };
    const references = Object.fromEntries(images.map(({ name, ref }) => [name, ref]));
    return [committed, machine, dns, imageOverlay(references)];
  }
  // Sizes and certificates as on the embedded default; storage, images and networks are the cluster's own.
  const { cluster: _cluster, wan: _wan, globalDns: _dns, ...rest } = committed;
  return [rest, machine];
}

/** The Kubernetes objects of a region as `start` applies them, without the engine. They hold secrets. */
export async function renderPlace(
  instance: string,
  images: readonly BuiltImage[],
  place: DeployedRegion,
): Promise<KubernetesObject[]> {
  const random = new RandomState(randomFile(instance, place.region));
  const { resources } = await renderStack(place.region, {
    overlays: await overlaysFor(instance, images, place),
    compute: (type, name, inputs) => random.compute(type, name, inputs),
  });
  return kubernetesObjects(resources);
}

/** Under which record a region's objects are applied and pruned. */
export function applySet(place: DeployedRegion): { namespace: string; set: string } {
  return { namespace: place.namespace, set: `iam-ha-${place.region}` };
}

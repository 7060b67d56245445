import type * as pulumi from "@pulumi/pulumi";
import type * as k8s from "@pulumi/kubernetes";
import type { ImageName, ImageSettings } from "./images.ts";
import type { WanSettings } from "./wan.ts";

/** What every component of a region needs to know of the region it stands in. Plain data but for the namespace. */
export interface RegionContext {
  /** Name of the region, such as `beijing`; the key of `iam-ha:regions`. */
  readonly region: string;
  /** Name of the namespace that holds the region's objects. An output of the Namespace, so that whoever uses it comes
   *  after it. */
  readonly namespace: pulumi.Input<string>;
  /** DNS domain of the region's cluster, such as `cluster.local`. */
  readonly clusterDomain: string;
  /** Public domain of the platform, such as `iam.example.com`. */
  readonly domain: string;
  /** Storage class of every volume; undefined takes the cluster's default. */
  readonly storageClass: string | undefined;
  /** Whether the region's cluster has several nodes, so that spreading over nodes can be demanded and not only asked
   *  for. */
  readonly multiNode: boolean;
  /** Whether the region's data comes from another one when the platform is made: what becomes ready only with that data is
   *  not waited for, as the other region may be down. */
  readonly standby: boolean;
  /** Whether objects that hold data are protected from deletion and kept when their stack goes. */
  readonly protect: boolean;
  /** How the other regions reach this one. */
  readonly wan: WanSettings;
  /** Where images come from. */
  readonly images: ImageSettings;
}

export type Labels = Record<string, string>;

/** Labels of the component's objects: the recommended set of Kubernetes, with the region as the instance. */
export function labelsOf(ctx: RegionContext, component: string): Labels {
  return {
    ...selectorOf(ctx, component),
    "app.kubernetes.io/component": component,
    "app.kubernetes.io/part-of": "iam-ha",
    "app.kubernetes.io/managed-by": "pulumi",
  };
}

/** The labels that select a component's pods. They are immutable in Deployments and StatefulSets: keep them few. */
export function selectorOf(ctx: RegionContext, component: string): Labels {
  return { "app.kubernetes.io/name": component, "app.kubernetes.io/instance": ctx.region };
}

/** Metadata of one object in the region's namespace. */
export function metadata(
  ctx: RegionContext,
  component: string,
  name: string,
  annotations: Record<string, pulumi.Input<string>> = {},
): k8s.types.input.meta.v1.ObjectMeta {
  return {
    name,
    namespace: ctx.namespace,
    labels: labelsOf(ctx, component),
    ...(Object.keys(annotations).length > 0 ? { annotations } : {}),
  };
}

/** Annotations of what becomes ready only with another region's data, where that is so. */
export function unawaited(ctx: RegionContext): Record<string, string> {
  return ctx.standby ? { "pulumi.com/skipAwait": "true" } : {};
}

export type { ImageName };

import type * as k8s from "@pulumi/kubernetes";
import type * as pulumi from "@pulumi/pulumi";
import type { RegionContext } from "../common/context.ts";
import { imageReference } from "../common/images.ts";
import { COMPONENTS, SERVICES } from "../common/names.ts";
import { containerDefaults, memoryVolume, podDefaults } from "../common/pod.ts";
import { EDGE_PORTS, PATHS } from "./plan.ts";
import { SIDECAR, sidecarContainer } from "./sidecar.ts";
import { gracePeriodSeconds, type EdgeSettings } from "./settings.ts";

type PodSpec = k8s.types.input.core.v1.PodSpec;
type Container = k8s.types.input.core.v1.Container;

export interface EdgePodArgs {
  readonly context: RegionContext;
  readonly settings: EdgeSettings;
  readonly upstreamServers: readonly string[];
  readonly tlsSecret: pulumi.Input<string>;
  readonly clientTlsSecret: pulumi.Input<string>;
}

/** NGINX resolves the API's names once, as it starts, and ends when one is missing. In a region that just comes up they
 *  may be seconds away (the Service, or the cluster's DNS): waiting costs less than the growing pauses between restarts
 *  of the container. After a minute the container fails with a word on why, and Kubernetes begins anew. */
const WAIT_FOR_NAMES = `deadline=$((SECONDS + 60))
for name; do
  until getent ahosts "$name" >/dev/null; do
    if ((SECONDS >= deadline)); then
      echo "the name $name of an API pod does not resolve: is its Service there, and does the cluster's DNS answer?" >&2
      exit 1
    fi
    sleep 0.5
  done
done`;

/** The pod of the edge: NGINX under the image's entry point, which reloads it when configuration, certificates or the
 *  sidecar's word change. */
export function edgePod(args: EdgePodArgs): PodSpec {
  const { context: ctx, settings } = args;
  const image = imageReference(ctx.images, "edge");
  const common = containerDefaults(ctx, settings.resources);
  return {
    ...podDefaults(ctx, COMPONENTS.edge),
    serviceAccountName: SERVICES.edge,
    terminationGracePeriodSeconds: gracePeriodSeconds(settings),
    // Names of other regions are complete, so no search list is walked, and a lost answer is asked for again soon.
    dnsConfig: {
      options: [
        { name: "ndots", value: "1" },
        { name: "timeout", value: "1" },
        { name: "attempts", value: "2" },
      ],
    },
    initContainers: [
      {
        name: "wait-for-names",
        image,
        ...common,
        command: ["/bin/bash", "-c", WAIT_FOR_NAMES, "wait-for-names", ...args.upstreamServers],
      },
    ],
    containers: [{ name: "nginx", image, ...common, ...nginx(settings) }, sidecarContainer(ctx, settings)],
    volumes: [
      // Whole folders and no sub-paths: only these follow a change of the object.
      { name: "config", configMap: { name: SERVICES.edge } },
      { name: "sidecar", configMap: { name: SIDECAR } },
      { name: "tls", secret: { secretName: args.tlsSecret, defaultMode: 0o440 } },
      { name: "client-tls", secret: { secretName: args.clientTlsSecret, defaultMode: 0o440 } },
      // Outlives a restart of either container: the sidecar goes on from what it wrote.
      memoryVolume("upstreams", "1Mi"),
      memoryVolume("run", "1Mi"),
      memoryVolume("tmp", "8Mi"),
      { name: "cache", emptyDir: { sizeLimit: settings.cacheVolumeSize } },
    ],
  };
}

function nginx(settings: EdgeSettings): Omit<Container, "name"> {
  const probe = { httpGet: { path: "/health", port: "health" }, timeoutSeconds: 2 };
  return {
    env: [
      { name: "EDGE_WATCH", value: [PATHS.config, PATHS.tls, PATHS.clientTls, PATHS.upstreams].join(" ") },
      { name: "EDGE_DRAIN_SECONDS", value: String(settings.drainSeconds) },
    ],
    ports: (["http", "https", "peer", "health"] as const).map((name) => ({
      name,
      containerPort: EDGE_PORTS[name],
      protocol: "TCP",
    })),
    // All of NGINX alone: an API that is down is answered with 502 and is no reason to restart or to take out the edge.
    startupProbe: { ...probe, periodSeconds: 1, failureThreshold: 60 },
    readinessProbe: { ...probe, periodSeconds: 5, failureThreshold: 2 },
    livenessProbe: { ...probe, periodSeconds: 10, failureThreshold: 3 },
    // Serves on while the word spreads that this pod goes; only then does NGINX get its signal and finish what is open.
    ...(settings.preStopSeconds > 0
      ? { lifecycle: { preStop: { exec: { command: ["/bin/sleep", String(settings.preStopSeconds)] } } } }
      : {}),
    volumeMounts: [
      { name: "config", mountPath: PATHS.config, readOnly: true },
      { name: "tls", mountPath: PATHS.tls, readOnly: true },
      { name: "client-tls", mountPath: PATHS.clientTls, readOnly: true },
      { name: "upstreams", mountPath: PATHS.upstreams, readOnly: true },
      { name: "run", mountPath: PATHS.run },
      { name: "tmp", mountPath: "/tmp" },
      { name: "cache", mountPath: PATHS.cache },
    ],
  };
}

import type * as k8s from "@pulumi/kubernetes";
import type { EdgeSidecarConfig } from "../../sidecar/core/edge-sidecar-config.ts";
import type { RegionContext } from "../common/context.ts";
import { imageReference } from "../common/images.ts";
import { PORTS, SERVICES } from "../common/names.ts";
import { containerDefaults } from "../common/pod.ts";
import { PATHS } from "./plan.ts";
import type { EdgeSettings } from "./settings.ts";

/** Name of the container, of its ConfigMap and of its program. */
export const SIDECAR = "edge-sidecar";
const CONFIG_PATH = "/etc/edge-sidecar";
const STATUS_PORT = 8083;

/** Text of the sidecar's configuration file. */
export function sidecarConfig(ctx: RegionContext, { regions }: EdgeSettings): string {
  const config: EdgeSidecarConfig = {
    region: ctx.region,
    controller: `https://${SERVICES.regionController}:${PORTS.regionController}`,
    tls: {
      caFile: `${PATHS.clientTls}/ca.crt`,
      certFile: `${PATHS.clientTls}/tls.crt`,
      keyFile: `${PATHS.clientTls}/tls.key`,
    },
    pollMillis: regions.pollMillis,
    callTimeoutMillis: regions.callTimeoutMillis,
    firstAnswerMillis: regions.firstAnswerSeconds * 1000,
    resolveMillis: regions.resolveSeconds * 1000,
    addressMillis: regions.addressSeconds * 1000,
    routeFile: `${PATHS.upstreams}/route.conf`,
    peer: {
      port: PORTS.edgePeer,
      keepalive: regions.keepalive,
      keepaliveIdleSeconds: regions.keepaliveIdleSeconds,
    },
    statusPort: STATUS_PORT,
  };
  return JSON.stringify(config, undefined, 2);
}

/** The sidecar beside NGINX: it asks who is active, and writes which way requests go. */
export function sidecarContainer(ctx: RegionContext, settings: EdgeSettings): k8s.types.input.core.v1.Container {
  return {
    name: SIDECAR,
    image: imageReference(ctx.images, "node"),
    ...containerDefaults(ctx, settings.regions.resources),
    args: ["node", "--max-old-space-size=48", `/app/${SIDECAR}.mjs`, `${CONFIG_PATH}/sidecar.json`],
    ports: [{ name: "status", containerPort: STATUS_PORT, protocol: "TCP" }],
    volumeMounts: [
      { name: "sidecar", mountPath: CONFIG_PATH, readOnly: true },
      { name: "client-tls", mountPath: PATHS.clientTls, readOnly: true },
      { name: "upstreams", mountPath: PATHS.upstreams },
    ],
    // For the first answer, and not for the controller: once it is ready it stays so.
    readinessProbe: { httpGet: { path: "/readyz", port: "status" }, periodSeconds: 2, timeoutSeconds: 2 },
    // Whether its loop goes round and nothing of the controller.
    livenessProbe: {
      httpGet: { path: "/healthz", port: "status" },
      initialDelaySeconds: 30,
      periodSeconds: 20,
      timeoutSeconds: 5,
    },
    // As long as NGINX takes new requests they must go the right way.
    ...(settings.preStopSeconds > 0
      ? { lifecycle: { preStop: { exec: { command: ["/bin/sleep", String(settings.preStopSeconds)] } } } }
      : {}),
  };
}

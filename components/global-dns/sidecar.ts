import type * as k8s from "@pulumi/kubernetes";
import type { DnsSidecarConfig } from "../../sidecar/core/dns-sidecar-config.ts";
import type { RegionContext } from "../common/context.ts";
import { imageReference } from "../common/images.ts";
import { containerDefaults } from "../common/pod.ts";
import { DNS_PATHS, DNS_PORTS, witnessEndpoints } from "./corefile.ts";
import type { CorednsSettings } from "./settings.ts";

/** Name of the container and of its program. */
export const SIDECAR = "dns-sidecar";
/** User of the witness that may read the names, and the key of its password in the Secret. */
export const DNS_USER = "dns";

/** Text of the sidecar's configuration file. */
export function sidecarConfig(ctx: RegionContext, regions: readonly string[]): string {
  const config: DnsSidecarConfig = {
    region: ctx.region,
    witness: witnessEndpoints(ctx.region, regions, ctx.domain),
    user: DNS_USER,
    passwordFile: `${DNS_PATHS.secrets}/${DNS_USER}`,
    tls: {
      caFile: `${DNS_PATHS.tls}/ca.crt`,
      certFile: `${DNS_PATHS.tls}/tls.crt`,
      keyFile: `${DNS_PATHS.tls}/tls.key`,
    },
    folder: DNS_PATHS.source,
    pollMillis: 2000,
    callTimeoutMillis: 2000,
    coredns: {
      health: `http://127.0.0.1:${DNS_PORTS.health}/health`,
      metrics: `http://127.0.0.1:${DNS_PORTS.metrics}/metrics`,
    },
    statusPort: DNS_PORTS.sidecar,
  };
  return JSON.stringify(config, undefined, 2);
}

/** The sidecar beside CoreDNS: it gives it its way to the witness when that lets it in, and a new one when password or
 *  certificate are renewed. */
export function sidecarContainer(ctx: RegionContext, settings: CorednsSettings): k8s.types.input.core.v1.Container {
  return {
    name: SIDECAR,
    image: imageReference(ctx.images, "node"),
    ...containerDefaults(ctx, settings.sidecarResources),
    args: ["node", "--max-old-space-size=48", `/app/${SIDECAR}.mjs`, `${DNS_PATHS.sidecar}/sidecar.json`],
    ports: [{ name: "status", containerPort: DNS_PORTS.sidecar, protocol: "TCP" }],
    volumeMounts: [
      { name: "sidecar", mountPath: DNS_PATHS.sidecar, readOnly: true },
      { name: "secrets", mountPath: DNS_PATHS.secrets, readOnly: true },
      { name: "tls", mountPath: DNS_PATHS.tls, readOnly: true },
      { name: "source", mountPath: DNS_PATHS.source },
    ],
    // Whether its loop goes round and nothing of the witness. No readiness: names are answered without it.
    livenessProbe: {
      httpGet: { path: "/healthz", port: "status" },
      initialDelaySeconds: 30,
      periodSeconds: 20,
      timeoutSeconds: 5,
    },
  };
}

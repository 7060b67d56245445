import type * as k8s from "@pulumi/kubernetes";
import type * as pulumi from "@pulumi/pulumi";
import type { RegionContext } from "../common/context.ts";
import { COMPONENTS, PORTS, SERVICES } from "../common/names.ts";
import { containerDefaults, containerSecurity, memoryVolume, podDefaults, podSecurity } from "../common/pod.ts";
import { DNS_PATHS, DNS_PORTS } from "./corefile.ts";
import { sidecarContainer } from "./sidecar.ts";
import type { CorednsSettings } from "./settings.ts";

/** A DNS pod. All probes ask for the processes alone: without the witness it gives its last answers, and a region must
 *  come up without the others. */
export function dnsPod(
  ctx: RegionContext,
  settings: CorednsSettings,
  secrets: { readonly tls: pulumi.Input<string>; readonly password: pulumi.Input<string> },
): k8s.types.input.core.v1.PodSpec {
  return {
    ...podDefaults(ctx, COMPONENTS.globalDns),
    serviceAccountName: SERVICES.globalDns,
    terminationGracePeriodSeconds: 15,
    securityContext: {
      ...podSecurity,
      // Port 53 without root: one of the sysctls that Kubernetes counts as safe.
      sysctls: [{ name: "net.ipv4.ip_unprivileged_port_start", value: String(PORTS.dns) }],
    },
    // Names of the witness are complete, so no search list is walked.
    dnsConfig: { options: [{ name: "ndots", value: "1" }] },
    containers: [
      {
        name: "coredns",
        image: settings.image,
        ...containerDefaults(ctx, settings.resources),
        // The official image's program carries this file capability: without the right to it, it could not be started.
        securityContext: { ...containerSecurity, capabilities: { drop: ["ALL"], add: ["NET_BIND_SERVICE"] } },
        args: ["-conf", `${DNS_PATHS.config}/Corefile`],
        ports: [
          { name: "dns", containerPort: PORTS.dns, protocol: "UDP" },
          { name: "dns-tcp", containerPort: PORTS.dns, protocol: "TCP" },
          { name: "metrics", containerPort: DNS_PORTS.metrics, protocol: "TCP" },
        ],
        readinessProbe: { httpGet: { path: "/ready", port: DNS_PORTS.ready }, periodSeconds: 5, timeoutSeconds: 2 },
        livenessProbe: {
          httpGet: { path: "/health", port: DNS_PORTS.health },
          initialDelaySeconds: 10,
          periodSeconds: 10,
          timeoutSeconds: 5,
        },
        volumeMounts: [
          { name: "config", mountPath: DNS_PATHS.config, readOnly: true },
          { name: "source", mountPath: DNS_PATHS.source, readOnly: true },
        ],
      },
      sidecarContainer(ctx, settings),
    ],
    volumes: [
      // A whole folder: it follows a change of the object, and CoreDNS reloads.
      {
        name: "config",
        configMap: {
          name: SERVICES.globalDns,
          defaultMode: 0o444,
          items: [{ key: "Corefile", path: "Corefile" }],
        },
      },
      {
        name: "sidecar",
        configMap: {
          name: SERVICES.globalDns,
          defaultMode: 0o444,
          items: [{ key: "sidecar.json", path: "sidecar.json" }],
        },
      },
      { name: "secrets", secret: { secretName: secrets.password, defaultMode: 0o440 } },
      { name: "tls", secret: { secretName: secrets.tls, defaultMode: 0o440 } },
      // Outlives a restart of either container, and is on no disk: the password is in it.
      memoryVolume("source", "1Mi"),
    ],
  };
}

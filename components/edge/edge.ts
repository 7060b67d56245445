import { createHash } from "node:crypto";
import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import { labelsOf, metadata, selectorOf, type RegionContext } from "../common/context.ts";
import { COMPONENTS, endpointName, PORTS, SERVICES } from "../common/names.ts";
import { edgeConfig } from "./plan.ts";
import { edgePod } from "./pod.ts";
import { edgeNetworkPolicy } from "./network-policy.ts";
import { SIDECAR, sidecarConfig } from "./sidecar.ts";
import type { EdgeSettings } from "./settings.ts";

export interface EdgeArgs {
  /** The region's context. */
  context: RegionContext;
  /** The stack's `edge` settings; their defaults are in the schema. */
  settings: EdgeSettings;
  /** Secret with the public certificate (`tls.crt`, `tls.key`), good for every host name of the edge. NGINX reloads when
   *  it is renewed. */
  tlsSecret: pulumi.Input<string>;
  /** Secret with what the edge shows to the API, to other regions' edges and to the region controller (`tls.crt`,
   *  `tls.key`), and by which it knows them (`ca.crt`). */
  clientTlsSecret: pulumi.Input<string>;
  /** The API pods: a host each that always leads to the same pod (the names of their Services), their port, and whether
   *  they speak HTTPS. Plain data: the edge needs the names, not the pods. */
  upstream: { servers: readonly string[]; port: number; tls: boolean };
}

/** The edge of a region, §5.1.1: NGINX pods that end TLS, limit, and pass requests on to the API pods; to the edge of the
 *  active region, when that is another one (§5.4). Its configuration is a ConfigMap; a change of it, of a certificate or of
 *  who is active is reloaded in place, after NGINX has checked it, without dropping a request. */
export class Edge extends pulumi.ComponentResource {
  /** Where clients find the API of this region, such as `https://api-beijing.iam.example.com`. */
  readonly url: pulumi.Output<string>;
  /** Name of the Service. */
  readonly serviceName: pulumi.Output<string>;

  constructor(name: string, args: EdgeArgs, opts?: pulumi.ComponentResourceOptions) {
    super("iam-ha:edge:Edge", name, {}, opts);
    checkArgs(name, args);
    const { context: ctx, settings } = args;
    const child = { parent: this };
    const meta = () => metadata(ctx, COMPONENTS.edge, SERVICES.edge);
    const upstream = { ...args.upstream, tlsName: SERVICES.api };

    const account = new k8s.core.v1.ServiceAccount(
      name,
      { metadata: meta(), automountServiceAccountToken: false },
      child,
    );
    const config = new k8s.core.v1.ConfigMap(
      name,
      { metadata: meta(), data: edgeConfig({ settings, region: ctx.region, domain: ctx.domain, upstream }) },
      child,
    );
    const sidecar = sidecarConfig(ctx, settings);
    const sidecarMap = new k8s.core.v1.ConfigMap(
      `${name}-sidecar`,
      { metadata: metadata(ctx, COMPONENTS.edge, SIDECAR), data: { "sidecar.json": sidecar } },
      child,
    );
    const deployment = new k8s.apps.v1.Deployment(
      name,
      {
        metadata: meta(),
        spec: {
          replicas: settings.replicas,
          // A pod goes only after the one that takes its place serves.
          strategy: { type: "RollingUpdate", rollingUpdate: { maxUnavailable: 0, maxSurge: 1 } },
          revisionHistoryLimit: 3,
          selector: { matchLabels: selectorOf(ctx, COMPONENTS.edge) },
          template: {
            // No checksum of NGINX's ConfigMap here: the pods reload by themselves, and a roll-out would cut connections.
            // The sidecar reads its own at its start only.
            metadata: {
              labels: labelsOf(ctx, COMPONENTS.edge),
              annotations: { "iam-ha/sidecar-config-sha256": createHash("sha256").update(sidecar).digest("hex") },
            },
            spec: edgePod({
              context: ctx,
              settings,
              upstreamServers: args.upstream.servers,
              tlsSecret: args.tlsSecret,
              clientTlsSecret: args.clientTlsSecret,
            }),
          },
        },
      },
      // Pods would only wait for these.
      { ...child, dependsOn: [account, config, sidecarMap] },
    );
    // Ready pods first: the engine waits for a load balancer's address, and that for pods to send to.
    const service = new k8s.core.v1.Service(
      name,
      { metadata: this.serviceMetadata(args), spec: serviceSpec(ctx, settings) },
      { ...child, dependsOn: [deployment] },
    );
    new k8s.policy.v1.PodDisruptionBudget(
      name,
      {
        metadata: meta(),
        spec: {
          maxUnavailable: 1,
          selector: { matchLabels: selectorOf(ctx, COMPONENTS.edge) },
          unhealthyPodEvictionPolicy: "AlwaysAllow",
        },
      },
      child,
    );
    new k8s.networking.v1.NetworkPolicy(
      name,
      { metadata: meta(), spec: edgeNetworkPolicy(ctx, settings, args.upstream.port) },
      child,
    );

    this.url = pulumi.output(`https://${endpointName("api", ctx.region, ctx.domain)}`);
    this.serviceName = service.metadata.name;
    this.registerOutputs({ url: this.url, serviceName: this.serviceName });
  }

  private serviceMetadata({ context, settings }: EdgeArgs) {
    // external-dns makes the name from it; other regions' edges and name servers ask for that name.
    return metadata(context, COMPONENTS.edge, SERVICES.edge, {
      "external-dns.alpha.kubernetes.io/hostname": endpointName("api", context.region, context.domain),
      ...settings.service.annotations,
    });
  }
}

function serviceSpec(ctx: RegionContext, settings: EdgeSettings): k8s.types.input.core.v1.ServiceSpec {
  const { type, externalTrafficPolicy, loadBalancerClass, loadBalancerSourceRanges, ...ports } = settings.service;
  const nodePort = (fixed: number | undefined) => (fixed === undefined ? {} : { nodePort: fixed });
  return {
    type,
    selector: selectorOf(ctx, COMPONENTS.edge),
    ports: [
      { name: "http", port: PORTS.edgeHttp, targetPort: "http", ...nodePort(ports.httpNodePort) },
      { name: "https", port: PORTS.edgeHttps, targetPort: "https", ...nodePort(ports.httpsNodePort) },
      // Under the same name as the public ports: other regions find it as api-<region>.<domain>.
      { name: "edge-peer", port: PORTS.edgePeer, targetPort: "peer", ...nodePort(ports.peerNodePort) },
    ],
    ...(type === "ClusterIP" ? {} : { externalTrafficPolicy }),
    ...(loadBalancerClass === undefined ? {} : { loadBalancerClass }),
    ...(loadBalancerSourceRanges.length > 0 ? { loadBalancerSourceRanges } : {}),
    ...(settings.ipv6 ? { ipFamilyPolicy: "PreferDualStack" } : {}),
  };
}

/** What the config's schema cannot see, as it comes from another component.
 *  @throws pulumi.InputPropertiesError */
function checkArgs(name: string, { upstream }: EdgeArgs): void {
  const errors: { propertyPath: string; reason: string }[] = [];
  if (upstream.servers.length === 0) {
    errors.push({ propertyPath: "upstream.servers", reason: "is empty; name at least one API pod's Service" });
  }
  upstream.servers.forEach((host, i) => {
    if (/^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$/.test(host)) return;
    errors.push({
      propertyPath: `upstream.servers[${i}]`,
      reason: `${JSON.stringify(host)} is no host name; give the name of a Service`,
    });
  });
  const twin = upstream.servers.find((host, i) => upstream.servers.indexOf(host) !== i);
  if (twin !== undefined)
    errors.push({ propertyPath: "upstream.servers", reason: `names ${twin} twice; it would get twice its share` });
  if (!Number.isInteger(upstream.port) || upstream.port < 1 || upstream.port > 65535) {
    errors.push({ propertyPath: "upstream.port", reason: `${upstream.port} is no port; give 1 to 65535` });
  }
  if (errors.length > 0) throw new pulumi.InputPropertiesError({ message: `${name}: bad arguments of Edge`, errors });
}

import { createHash } from "node:crypto";
import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import { labelsOf, metadata, selectorOf, type RegionContext } from "../common/context.ts";
import { COMPONENTS, globalName, PORTS, SERVICES } from "../common/names.ts";
import { wanPeers } from "../common/wan.ts";
import { corefile, DNS_PORTS } from "./corefile.ts";
import { dnsPod } from "./pod.ts";
import { DNS_USER, sidecarConfig } from "./sidecar.ts";
import type { CorednsSettings, GlobalDnsSettings } from "./settings.ts";

export interface GlobalDnsArgs {
  /** The region's context. */
  context: RegionContext;
  /** The stack's `globalDns` settings; their defaults are in the schema. */
  settings: GlobalDnsSettings;
  /** Names of all regions, this one included. */
  regions: readonly string[];
  /** Secret with what the servers show to the witness (`tls.crt`, `tls.key`) and by which they know it (`ca.crt`). */
  tlsSecret: pulumi.Input<string>;
  /** Password of the witness' user `dns`, who may read the names. */
  password: pulumi.Input<string>;
}

/** The platform's one name, §5.4: `api.<domain>` leads to the active region's edge, within seconds of a change. */
export class GlobalDns extends pulumi.ComponentResource {
  /** The name, such as `api.iam.example.com`. */
  readonly hostname: pulumi.Output<string>;
  /** Name of the Service of the region's DNS servers; empty where the provider has none. */
  readonly serviceName: pulumi.Output<string>;

  constructor(name: string, args: GlobalDnsArgs, opts?: pulumi.ComponentResourceOptions) {
    super("iam-ha:global-dns:GlobalDns", name, {}, opts);
    checkArgs(name, args);
    this.hostname = pulumi.output(globalName(args.context.domain));
    this.serviceName = pulumi.output(
      args.settings.provider === "coredns" ? this.coredns(name, args, args.settings) : "",
    );
    this.registerOutputs({ hostname: this.hostname, serviceName: this.serviceName });
  }

  /** CoreDNS over the region's member of the witness, and over the others where that is gone. */
  private coredns(name: string, args: GlobalDnsArgs, settings: CorednsSettings): pulumi.Output<string> {
    const { context: ctx, regions } = args;
    const child = { parent: this };
    const meta = (annotations: Record<string, string> = {}) =>
      metadata(ctx, COMPONENTS.globalDns, SERVICES.globalDns, annotations);
    const selector = selectorOf(ctx, COMPONENTS.globalDns);
    const { domain } = ctx;
    const sidecar = sidecarConfig(ctx, regions);

    const account = new k8s.core.v1.ServiceAccount(
      name,
      { metadata: meta(), automountServiceAccountToken: false },
      child,
    );
    const config = new k8s.core.v1.ConfigMap(
      name,
      { metadata: meta(), data: { Corefile: corefile({ settings, regions, domain }), "sidecar.json": sidecar } },
      child,
    );
    const secret = new k8s.core.v1.Secret(
      name,
      { metadata: meta(), stringData: { [DNS_USER]: pulumi.secret(args.password) } },
      child,
    );
    new k8s.networking.v1.NetworkPolicy(name, { metadata: meta(), spec: policySpec(ctx) }, child);
    const deployment = new k8s.apps.v1.Deployment(
      name,
      {
        metadata: meta(),
        spec: {
          replicas: settings.replicas,
          // A server goes only after the one that takes its place answers.
          strategy: { type: "RollingUpdate", rollingUpdate: { maxUnavailable: 0, maxSurge: 1 } },
          revisionHistoryLimit: 3,
          selector: { matchLabels: selector },
          template: {
            // No checksum of the Corefile: CoreDNS reloads. The sidecar reads its own file at its start only; password
            // and certificate it reads again and again.
            metadata: {
              labels: labelsOf(ctx, COMPONENTS.globalDns),
              annotations: { "iam-ha/sidecar-config-sha256": createHash("sha256").update(sidecar).digest("hex") },
            },
            spec: dnsPod(ctx, settings, { tls: args.tlsSecret, password: secret.metadata.name }),
          },
        },
      },
      { ...child, dependsOn: [account, config] },
    );
    if (settings.replicas > 1) {
      new k8s.policy.v1.PodDisruptionBudget(
        name,
        {
          metadata: meta(),
          spec: { maxUnavailable: 1, selector: { matchLabels: selector }, unhealthyPodEvictionPolicy: "AlwaysAllow" },
        },
        child,
      );
    }
    // Ready pods first: the engine waits for a load balancer's address, and that for pods to send to.
    const service = new k8s.core.v1.Service(
      name,
      { metadata: meta(settings.service.annotations), spec: serviceSpec(ctx, settings) },
      { ...child, dependsOn: [deployment] },
    );
    return service.metadata.name;
  }
}

function serviceSpec(ctx: RegionContext, { service }: CorednsSettings): k8s.types.input.core.v1.ServiceSpec {
  const { type, clusterIP, loadBalancerClass } = service;
  return {
    type,
    selector: selectorOf(ctx, COMPONENTS.globalDns),
    ports: [
      { name: "dns", port: PORTS.dns, targetPort: "dns", protocol: "UDP" },
      { name: "dns-tcp", port: PORTS.dns, targetPort: "dns-tcp", protocol: "TCP" },
    ],
    ...(clusterIP === undefined ? {} : { clusterIP }),
    ...(loadBalancerClass === undefined ? {} : { loadBalancerClass }),
  };
}

/** In: anyone, for names; monitoring. Out: every region's member of the witness, and names. */
function policySpec(ctx: RegionContext): k8s.types.input.networking.v1.NetworkPolicySpec {
  const pods = (component: string) => ({ podSelector: { matchLabels: selectorOf(ctx, component) } });
  const dns = { ports: ["UDP", "TCP"].map((protocol) => ({ protocol, port: PORTS.dns })) };
  return {
    podSelector: { matchLabels: selectorOf(ctx, COMPONENTS.globalDns) },
    policyTypes: ["Ingress", "Egress"],
    ingress: [dns, { from: [pods(COMPONENTS.monitoring)], ports: [{ protocol: "TCP", port: DNS_PORTS.metrics }] }],
    egress: [
      {
        to: [pods(COMPONENTS.witness), ...wanPeers(ctx.wan)],
        ports: [{ protocol: "TCP", port: PORTS.witnessClient }],
      },
      // Wherever the cluster's DNS runs: not everywhere is it a pod of kube-system.
      dns,
    ],
  };
}

/** What the config's schema cannot see.
 *  @throws pulumi.InputPropertiesError */
function checkArgs(name: string, { context, regions }: GlobalDnsArgs): void {
  if (regions.includes(context.region)) return;
  throw new pulumi.InputPropertiesError({
    message: `${name}: bad arguments of GlobalDns`,
    errors: [
      {
        propertyPath: "regions",
        reason: `is ${regions.join(", ") || "empty"}; must name all regions, ${context.region} among them`,
      },
    ],
  });
}

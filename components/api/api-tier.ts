import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import { labelsOf, metadata, selectorOf, type RegionContext, unawaited } from "../common/context.ts";
import { apiPodNames, COMPONENTS, PORTS, SERVICES } from "../common/names.ts";
import { apiPod } from "./pod.ts";
import type { ApiSettings } from "./settings.ts";

export interface ApiTierArgs {
  /** The region's context. */
  context: RegionContext;
  /** The stack's `api` settings; their defaults are in the schema. */
  settings: ApiSettings;
  /** Secret with the API's certificate: `tls.crt`, `tls.key`, and `ca.crt` that signed all internal certificates. */
  tlsSecret: pulumi.Input<string>;
  /** Where the pooler is, and the application's role. */
  pooler: { host: pulumi.Input<string>; port: pulumi.Input<number>; user: string };
  /** Where the cache is, and the application's user of it. */
  redis: { host: pulumi.Input<string>; port: pulumi.Input<number>; user: string };
  passwords: {
    /** Of the application's role in the database. */
    application: pulumi.Input<string>;
    /** Of the application's user in Redis. */
    redis: pulumi.Input<string>;
    /** Of the API's first user, `admin`. */
    admin: pulumi.Input<string>;
  };
}

/** The API's pods, iam-api-1 to iam-api-n, each with a Service of its own: an address that stays when the pod comes back
 *  with another one, so that NGINX, which resolves names once, always reaches it. */
export class ApiTier extends pulumi.ComponentResource {
  /** What the edge passes requests to. Plain data: the edge needs the names, not the pods. */
  readonly upstream: { servers: string[]; port: number; tls: boolean };
  /** Names of the pods. */
  readonly podNames: pulumi.Output<string[]>;

  constructor(name: string, args: ApiTierArgs, opts?: pulumi.ComponentResourceOptions) {
    super("iam-ha:api:ApiTier", name, {}, opts);
    const { context: ctx, settings } = args;
    const child = { parent: this };
    const of = COMPONENTS.api;
    const meta = (object: string = of) => metadata(ctx, of, object);
    const pods = apiPodNames(settings.replicas);

    const account = new k8s.core.v1.ServiceAccount(
      name,
      { metadata: meta(), automountServiceAccountToken: false },
      child,
    );
    const secret = new k8s.core.v1.Secret(
      name,
      {
        metadata: meta(),
        stringData: { database: args.passwords.application, redis: args.passwords.redis, admin: args.passwords.admin },
      },
      child,
    );
    const ports = [{ name: "api", port: settings.port, targetPort: "api", protocol: "TCP" }];
    new k8s.core.v1.Service(
      `${name}-nodes`,
      { metadata: meta(), spec: { clusterIP: "None", selector: selectorOf(ctx, of), ports } },
      child,
    );
    for (const pod of pods) {
      new k8s.core.v1.Service(
        `${name}-${pod}`,
        {
          // Whether the pod is ready is the edge's business, which tries another one: an update must not wait for it.
          metadata: metadata(ctx, of, pod, { "pulumi.com/skipAwait": "true" }),
          spec: {
            type: "ClusterIP",
            selector: { ...selectorOf(ctx, of), "statefulset.kubernetes.io/pod-name": pod },
            ports,
          },
        },
        child,
      );
    }
    new k8s.policy.v1.PodDisruptionBudget(
      name,
      { metadata: meta(), spec: { maxUnavailable: 1, selector: { matchLabels: selectorOf(ctx, of) } } },
      child,
    );
    this.networkPolicy(name, ctx, settings);
    const template = apiPod({ ...args, secretName: secret.metadata.name });
    const set = new k8s.apps.v1.StatefulSet(
      name,
      {
        metadata: metadata(ctx, of, of, unawaited(ctx)),
        spec: {
          serviceName: SERVICES.api,
          replicas: settings.replicas,
          // iam-api-1 is the first, as the upstream of §5.1.1 names them.
          ordinals: { start: 1 },
          podManagementPolicy: "Parallel",
          selector: { matchLabels: selectorOf(ctx, of) },
          template: { metadata: { labels: labelsOf(ctx, of) }, spec: template },
        },
      },
      { ...child, dependsOn: [account] },
    );

    this.upstream = { servers: pods, port: settings.port, tls: settings.tls };
    this.podNames = set.metadata.apply(() => pods);
    this.registerOutputs({ upstream: this.upstream, podNames: this.podNames });
  }

  /** The edge may call the API; the API may call the pooler, the cache, DNS and what is outside the cluster. */
  private networkPolicy(name: string, ctx: RegionContext, settings: ApiSettings): void {
    const from = (component: string) => ({ podSelector: { matchLabels: selectorOf(ctx, component) } });
    const tcp = (...numbers: number[]) => numbers.map((port) => ({ protocol: "TCP", port }));
    const external = [
      ...new Set(
        settings.externalServices.map((url) => Number(new URL(url).port) || (url.startsWith("https") ? 443 : 80)),
      ),
    ];
    new k8s.networking.v1.NetworkPolicy(
      name,
      {
        metadata: metadata(ctx, COMPONENTS.api, COMPONENTS.api),
        spec: {
          podSelector: { matchLabels: selectorOf(ctx, COMPONENTS.api) },
          policyTypes: ["Ingress", "Egress"],
          ingress: [{ from: [from(COMPONENTS.edge), from(COMPONENTS.monitoring)], ports: tcp(settings.port) }],
          egress: [
            { to: [from(COMPONENTS.pooler)], ports: tcp(PORTS.pooler) },
            { to: [from(COMPONENTS.redis)], ports: tcp(PORTS.redis) },
            // To anywhere, as the cluster's DNS may be pods, a node-local cache or a service outside.
            { ports: [{ protocol: "UDP", port: 53 }, ...tcp(53)] },
            ...(external.length > 0 ? [{ ports: tcp(...external) }] : []),
          ],
        },
      },
      { parent: this },
    );
  }
}

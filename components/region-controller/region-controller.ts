import { createHash } from "node:crypto";
import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import type { Link } from "../../sidecar/core/link.ts";
import { labelsOf, metadata, selectorOf, type RegionContext } from "../common/context.ts";
import { imageReference } from "../common/images.ts";
import { COMPONENTS, PORTS, SERVICES } from "../common/names.ts";
import { containerDefaults, podDefaults } from "../common/pod.ts";
import { quantityBytes } from "../common/schema.ts";
import { wanService } from "../common/wan.ts";
import { controllerNetworkPolicy } from "./network-policy.ts";
import { controllerConfig, PATHS, STATUS_PORT, type PasswordFile, type RegionOfTopology } from "./plan.ts";
import type { RegionControllerSettings } from "./settings.ts";

const COMPONENT = COMPONENTS.regionController;

export interface RegionControllerArgs {
  /** The region's context. */
  context: RegionContext;
  /** Timings, limits and resources; defaults are those of the schema. */
  settings: RegionControllerSettings;
  /** Every region of the platform, this one included, by name. */
  regions: Readonly<Record<string, RegionOfTopology>>;
  /** How data travels between them, §5.4.2. */
  links: readonly Link[];
  /** The region's database. */
  postgres: {
    /** Host of each member, for Patroni's REST API and for the leader. */
    nodeHosts: pulumi.Input<string[]>;
    /** Host of the Service of the leader. */
    primaryHost: pulumi.Input<string>;
    /** The application's database, whose content is compared. */
    database: string;
  };
  /** The region's cache. */
  redis: {
    host: pulumi.Input<string>;
    port: pulumi.Input<number>;
    /** ACL user that may read and write what is copied between regions. */
    user: string;
    /** Prefixes of keys whose values reach the other regions. */
    copy: readonly string[];
    /** Prefixes of keys that are dropped in the other regions when they change. */
    invalidate: readonly string[];
  };
  /** Name of the Secret with the certificate `region`: tls.crt, tls.key and ca.crt. */
  tlsSecret: pulumi.Input<string>;
  /** The controller's own passwords; secret. */
  passwords: { readonly [name in PasswordFile]: pulumi.Input<string> };
  /** Secrets that all regions must have alike, by name; only fingerprints of them leave the pod. Their names are plain. */
  sharedSecrets: Readonly<Record<string, pulumi.Input<string>>>;
  /** The platform's one name; `name` defaults to `api.<domain>`. */
  globalDns: { name?: string; ttlSeconds: number };
  /** Port of every region's edge, HTTPS. */
  edgePort: number;
}

/** The region controller: holds the region's activity under a lease in the witness, tells databases what to become and
 *  standby clusters where to stream from, and watches the ways of data between regions. It needs no right in the cluster. */
export class RegionController extends pulumi.ComponentResource {
  /** In-cluster host, for the edge and the database. */
  readonly host: pulumi.Output<string>;
  /** HTTPS port; clients show a certificate of the internal CA. */
  readonly port: pulumi.Output<number>;

  constructor(name: string, args: RegionControllerArgs, opts?: pulumi.ComponentResourceOptions) {
    super("iam-ha:region-controller:RegionController", name, {}, opts);
    const { context: ctx, settings } = args;
    const child = { parent: this };
    const selector = selectorOf(ctx, COMPONENT);
    check(args);

    const account = new k8s.core.v1.ServiceAccount(
      name,
      { metadata: metadata(ctx, COMPONENT, COMPONENT), automountServiceAccountToken: false },
      child,
    );
    const { postgres, redis } = args;
    const json = pulumi
      .all([postgres.nodeHosts, postgres.primaryHost, redis.host, redis.port])
      .apply(([nodeHosts, primaryHost, host, port]) =>
        JSON.stringify(
          controllerConfig({
            ...args,
            postgres: { nodeHosts, primaryHost, database: postgres.database },
            redis: { ...redis, host, port },
            sharedSecretNames: Object.keys(args.sharedSecrets),
          }),
          undefined,
          2,
        ),
      );
    const config = new k8s.core.v1.ConfigMap(
      name,
      { metadata: metadata(ctx, COMPONENT, COMPONENT), data: { "region.json": json } },
      child,
    );
    const passwords = this.secret(name, "passwords", args, args.passwords);
    const shared = this.secret(name, "shared", args, args.sharedSecrets);
    new k8s.networking.v1.NetworkPolicy(name, controllerNetworkPolicy(ctx), child);
    const wan = wanService(ctx, ctx.wan, "region");
    new k8s.core.v1.Service(
      name,
      {
        // Databases wait for it to answer; nothing may wait for a load balancer's address before.
        metadata: metadata(ctx, COMPONENT, SERVICES.regionController, {
          "pulumi.com/skipAwait": "true",
          ...wan.annotations,
        }),
        spec: {
          ...wan.spec,
          selector,
          ports: [{ name: "https", port: PORTS.regionController, targetPort: "https" }],
        },
      },
      child,
    );

    const mount = (volume: keyof typeof PATHS) => ({ name: volume, mountPath: PATHS[volume], readOnly: true });
    new k8s.apps.v1.Deployment(
      name,
      {
        metadata: metadata(ctx, COMPONENT, COMPONENT),
        spec: {
          // One: two that act at once would need a leader among them. One that comes back within the lease's time to
          // live goes on as if nothing had been.
          replicas: 1,
          strategy: { type: "Recreate" },
          selector: { matchLabels: selector },
          template: {
            metadata: {
              labels: labelsOf(ctx, COMPONENT),
              // The controller reads this file at its start only; passwords and certificates it reads while it runs.
              annotations: {
                "iam-ha/config-sha256": json.apply((text) => createHash("sha256").update(text).digest("hex")),
              },
            },
            spec: {
              ...podDefaults(ctx, COMPONENT),
              serviceAccountName: account.metadata.name,
              automountServiceAccountToken: false,
              terminationGracePeriodSeconds: 10,
              // Names are complete, so no search list is walked, and a lost answer is asked for again soon.
              dnsConfig: {
                options: [
                  { name: "ndots", value: "1" },
                  { name: "timeout", value: "1" },
                  { name: "attempts", value: "2" },
                ],
              },
              containers: [
                {
                  name: "region-controller",
                  image: imageReference(ctx.images, "node"),
                  ...containerDefaults(ctx, settings.resources),
                  args: [
                    "node",
                    `--max-old-space-size=${heapMebibytes(settings)}`,
                    "/app/region-controller.mjs",
                    `${PATHS.config}/region.json`,
                  ],
                  // Names are looked up, and files read, in threads: a resolver that hangs must not hold up the files.
                  env: [{ name: "UV_THREADPOOL_SIZE", value: "16" }],
                  ports: [
                    { name: "https", containerPort: PORTS.regionController },
                    { name: "status", containerPort: STATUS_PORT },
                  ],
                  volumeMounts: [mount("config"), mount("passwords"), mount("shared"), mount("tls")],
                  // Both ask whether its loops go round, and nothing of the platform: it is needed most when that is down.
                  readinessProbe: {
                    httpGet: { path: "/healthz", port: "status" },
                    periodSeconds: 5,
                    timeoutSeconds: 3,
                  },
                  livenessProbe: {
                    httpGet: { path: "/healthz", port: "status" },
                    initialDelaySeconds: 30,
                    periodSeconds: 20,
                    timeoutSeconds: 5,
                  },
                },
              ],
              volumes: [
                { name: "config", configMap: { name: config.metadata.name, defaultMode: 0o444 } },
                { name: "passwords", secret: { secretName: passwords.metadata.name, defaultMode: 0o440 } },
                { name: "shared", secret: { secretName: shared.metadata.name, defaultMode: 0o440 } },
                { name: "tls", secret: { secretName: args.tlsSecret, defaultMode: 0o440 } },
              ],
            },
          },
        },
      },
      child,
    );

    this.host = pulumi.interpolate`${SERVICES.regionController}.${ctx.namespace}.svc.${ctx.clusterDomain}`;
    this.port = pulumi.output(PORTS.regionController);
    this.registerOutputs({ host: this.host, port: this.port });
  }

  private secret(
    name: string,
    part: "passwords" | "shared",
    { context }: RegionControllerArgs,
    content: Readonly<Record<string, pulumi.Input<string>>>,
  ): k8s.core.v1.Secret {
    const stringData = Object.fromEntries(Object.entries(content).map(([key, value]) => [key, pulumi.secret(value)]));
    return new k8s.core.v1.Secret(
      `${name}-${part}`,
      { metadata: metadata(context, COMPONENT, `${COMPONENT}-${part}`), type: "Opaque", stringData },
      { parent: this },
    );
  }
}

/** What the settings' schema cannot see. */
function check({ context, regions }: RegionControllerArgs): void {
  if (context.region in regions) return;
  throw new pulumi.InputPropertiesError({
    message: "RegionController cannot be made",
    errors: [
      {
        propertyPath: "regions",
        reason: `has no region ${context.region}, which this stack is; found ${Object.keys(regions).join(", ")}`,
      },
    ],
  });
}

/** Half of the memory for the heap: buffers, code and the TLS library take their share beside it. */
function heapMebibytes({ resources }: RegionControllerSettings): number {
  return Math.floor(quantityBytes(resources.memory) / 2 / 1024 ** 2);
}

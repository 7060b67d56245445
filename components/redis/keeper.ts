import { createHash } from "node:crypto";
import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import type { RedisKeeperConfig } from "../../sidecar/core/redis-keeper-config.ts";
import { labelsOf, metadata, selectorOf, type RegionContext } from "../common/context.ts";
import { imageReference } from "../common/images.ts";
import { COMPONENTS } from "../common/names.ts";
import { containerDefaults, podDefaults } from "../common/pod.ts";
import { keeperNetworkPolicy } from "./network-policy.ts";
import { KEEPER_PATHS, KEEPER_STATUS_PORT, keeperConfig } from "./plan.ts";
import { KEEPER_USER, type RedisSettings } from "./settings.ts";

const COMPONENT = COMPONENTS.redisKeeper;

export interface RedisKeeperArgs {
  /** The region's context. */
  context: RegionContext;
  settings: RedisSettings;
  /** Host name of each node, as it announces itself. */
  nodeHosts: pulumi.Input<string[]>;
  /** Secret with the password of the ACL user `keeper`, under the user's name. */
  usersSecret: pulumi.Input<string>;
  /** Secret with the certificate that it shows and the CA that it trusts. */
  tlsSecret: pulumi.Input<string>;
}

/** The keeper of the Redis Cluster: one small pod that forms it, joins restarted nodes again and gives empty ones the
 *  place of those they replace. Redis fails over without it; and two of them at once do no harm. */
export class RedisKeeper extends pulumi.ComponentResource {
  constructor(name: string, args: RedisKeeperArgs, opts?: pulumi.ComponentResourceOptions) {
    super("iam-ha:redis:RedisKeeper", name, {}, opts);
    const { context: ctx, settings } = args;
    const child = { parent: this };
    const selector = selectorOf(ctx, COMPONENT);

    const account = new k8s.core.v1.ServiceAccount(
      name,
      { metadata: metadata(ctx, COMPONENT, COMPONENT), automountServiceAccountToken: false },
      child,
    );
    // Where there is one machine only, nobody needs to know who runs where.
    if (ctx.multiNode) this.allowPlacement(name, ctx, account.metadata.name);

    const json = pulumi
      .all([args.nodeHosts, ctx.namespace])
      .apply(([hosts, namespace]) =>
        JSON.stringify(keeperConfig(ctx, settings, hosts, namespace) satisfies RedisKeeperConfig, undefined, 2),
      );
    const config = new k8s.core.v1.ConfigMap(
      name,
      { metadata: metadata(ctx, COMPONENT, COMPONENT), data: { "keeper.json": json } },
      child,
    );
    new k8s.networking.v1.NetworkPolicy(name, keeperNetworkPolicy(ctx), child);
    new k8s.apps.v1.Deployment(
      name,
      {
        metadata: metadata(ctx, COMPONENT, COMPONENT),
        spec: {
          replicas: 1,
          strategy: { type: "Recreate" },
          selector: { matchLabels: selector },
          template: {
            metadata: {
              labels: labelsOf(ctx, COMPONENT),
              // The keeper reads this file at its start only; password and certificates it reads for every connection.
              annotations: {
                "iam-ha/config-sha256": json.apply((text) => createHash("sha256").update(text).digest("hex")),
              },
            },
            spec: {
              ...podDefaults(ctx, COMPONENT),
              serviceAccountName: account.metadata.name,
              automountServiceAccountToken: ctx.multiNode,
              terminationGracePeriodSeconds: 10,
              // Names of nodes are complete, so no search list is walked, and a lost answer is asked for again soon.
              dnsConfig: {
                options: [
                  { name: "ndots", value: "1" },
                  { name: "timeout", value: "1" },
                  { name: "attempts", value: "2" },
                ],
              },
              containers: [
                {
                  name: "redis-keeper",
                  image: imageReference(ctx.images, "node"),
                  ...containerDefaults(ctx, settings.keeper.resources),
                  args: [
                    "node",
                    "--max-old-space-size=64",
                    "/app/redis-keeper.mjs",
                    `${KEEPER_PATHS.config}/keeper.json`,
                  ],
                  ports: [{ name: "status", containerPort: KEEPER_STATUS_PORT }],
                  volumeMounts: [
                    { name: "config", mountPath: KEEPER_PATHS.config, readOnly: true },
                    { name: "users", mountPath: KEEPER_PATHS.secrets, readOnly: true },
                    { name: "tls", mountPath: KEEPER_PATHS.tls, readOnly: true },
                  ],
                  // Both ask whether its loop goes round, and nothing of Redis: it is needed most when that is down.
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
                {
                  name: "users",
                  secret: {
                    secretName: args.usersSecret,
                    defaultMode: 0o440,
                    items: [{ key: KEEPER_USER, path: KEEPER_USER }],
                  },
                },
                { name: "tls", secret: { secretName: args.tlsSecret, defaultMode: 0o440 } },
              ],
            },
          },
        },
      },
      child,
    );
    this.registerOutputs({});
  }

  private allowPlacement(name: string, ctx: RegionContext, account: pulumi.Input<string>): void {
    const child = { parent: this };
    const role = new k8s.rbac.v1.Role(
      name,
      {
        metadata: metadata(ctx, COMPONENT, COMPONENT),
        rules: [{ apiGroups: [""], resources: ["pods"], verbs: ["list"] }],
      },
      child,
    );
    new k8s.rbac.v1.RoleBinding(
      name,
      {
        metadata: metadata(ctx, COMPONENT, COMPONENT),
        roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "Role", name: role.metadata.name },
        subjects: [{ kind: "ServiceAccount", name: account, namespace: ctx.namespace }],
      },
      child,
    );
  }
}

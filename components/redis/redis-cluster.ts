import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import * as random from "@pulumi/random";
import { metadata, selectorOf, type RegionContext } from "../common/context.ts";
import { COMPONENTS, PORTS, podHost, redisSetName, SERVICES } from "../common/names.ts";
import { RedisKeeper } from "./keeper.ts";
import { redisNetworkPolicy } from "./network-policy.ts";
import { BUS_PORT, redisConf, usersAcl } from "./plan.ts";
import { redisPodTemplate } from "./pod.ts";
import { scriptFiles } from "./scripts.ts";
import { APPLICATION_USER, KEEPER_USER, NODE_USER, nodeCount, SYNC_USER, type RedisSettings } from "./settings.ts";

const COMPONENT = COMPONENTS.redis;

export interface RedisClusterArgs {
  /** The region's context. */
  context: RegionContext;
  /** Sizes, timings and policies; defaults are those of the schema. */
  settings: RedisSettings;
  /** Name of the Secret with tls.crt, tls.key and ca.crt: good for the Service and for every pod's name, as a server's
   *  and as a client's certificate. */
  tlsSecret: pulumi.Input<string>;
  /** Password of the application's ACL user (`APPLICATION_USER`); secret. The passwords of the keeper, of the nodes
   *  among themselves and of the copying between regions are made here; only the last one leaves the component. */
  password: pulumi.Input<string>;
}

/** A Redis Cluster of masters and replicas (§5.3.1: 3 + 3), with TLS, ACL users and the append-only file, and the keeper
 *  that forms it and joins restarted and replaced nodes again. A StatefulSet whose pods are all alike: which of them are
 *  masters is Redis' own affair and changes with every failover. */
export class RedisCluster extends pulumi.ComponentResource {
  /** Host to start from; it leads to any ready node, and a cluster client learns the others from there. */
  readonly host: pulumi.Output<string>;
  /** TLS port of every node. */
  readonly port: pulumi.Output<number>;
  /** Host name of each node, as it announces itself. */
  readonly nodeHosts: pulumi.Output<string[]>;
  /** ACL user of the region controller: `SYNC_USER`. */
  readonly syncUser: pulumi.Output<string>;
  /** Its password, for the region controller's Secret; secret. */
  readonly syncPassword: pulumi.Output<string>;

  constructor(name: string, args: RedisClusterArgs, opts?: pulumi.ComponentResourceOptions) {
    super("iam-ha:redis:RedisCluster", name, {}, opts);
    const { context: ctx, settings } = args;
    const child = { parent: this };
    const selector = selectorOf(ctx, COMPONENT);
    const set = redisSetName(ctx.region);
    const count = nodeCount(settings);
    if (set.length > 52) {
      // A StatefulSet's name ends up in labels of its pods with a hash after it, 63 characters together.
      throw new pulumi.InputPropertiesError({
        message: "RedisCluster cannot be named",
        errors: [
          {
            propertyPath: "context.region",
            reason: `makes the StatefulSet's name ${set}, which is over 52 characters: shorten the region's name`,
          },
        ],
      });
    }

    const madePassword = (user: string) =>
      // The provider marks the result secret; said here again, so that it is secret whatever runs the program.
      pulumi.secret(new random.RandomPassword(`${name}-${user}`, { length: 32, special: false }, child).result);
    const keeperPassword = madePassword(KEEPER_USER);
    const nodePassword = madePassword(NODE_USER);
    this.syncUser = pulumi.output(SYNC_USER);
    this.syncPassword = madePassword(SYNC_USER);
    const data = { protect: ctx.protect, retainOnDelete: ctx.protect };

    const users = new k8s.core.v1.Secret(
      `${name}-users`,
      {
        metadata: metadata(ctx, COMPONENT, "redis-users"),
        type: "Opaque",
        stringData: {
          [APPLICATION_USER]: pulumi.secret(args.password),
          [KEEPER_USER]: keeperPassword,
          [NODE_USER]: nodePassword,
          [SYNC_USER]: this.syncPassword,
        },
      },
      // Made anew, it would lock running nodes out from each other until all have restarted.
      { ...child, ...data },
    );
    const conf = { "redis.conf": redisConf(settings, PORTS.redis), "users.acl": usersAcl(settings) };
    const config = new k8s.core.v1.ConfigMap(
      `${name}-config`,
      { metadata: metadata(ctx, COMPONENT, "redis-config"), data: conf },
      child,
    );
    const files = scriptFiles();
    const scriptMap = new k8s.core.v1.ConfigMap(
      `${name}-scripts`,
      { metadata: metadata(ctx, COMPONENT, "redis-scripts"), data: files },
      child,
    );
    const account = new k8s.core.v1.ServiceAccount(
      name,
      { metadata: metadata(ctx, COMPONENT, COMPONENT), automountServiceAccountToken: false },
      child,
    );

    const ports = [{ name: "redis", port: PORTS.redis, targetPort: "redis" }];
    new k8s.core.v1.Service(
      `${name}-nodes`,
      {
        metadata: metadata(ctx, COMPONENT, SERVICES.redisNodes),
        // Nodes find each other before they are ready: they are ready only once they have found each other.
        spec: {
          clusterIP: "None",
          publishNotReadyAddresses: true,
          selector,
          ports: [...ports, { name: "bus", port: BUS_PORT, targetPort: "bus" }],
        },
      },
      child,
    );
    new k8s.core.v1.Service(
      name,
      {
        // The StatefulSet is awaited; awaiting the Service too would be the same wait twice, 10 s longer.
        metadata: metadata(ctx, COMPONENT, SERVICES.redis, { "pulumi.com/skipAwait": "true" }),
        spec: { type: "ClusterIP", selector, ports },
      },
      child,
    );
    new k8s.policy.v1.PodDisruptionBudget(
      name,
      {
        metadata: metadata(ctx, COMPONENT, COMPONENT),
        spec: { maxUnavailable: 1, selector: { matchLabels: selector } },
      },
      child,
    );
    new k8s.networking.v1.NetworkPolicy(name, redisNetworkPolicy(ctx), child);

    new k8s.apps.v1.StatefulSet(
      name,
      {
        metadata: metadata(ctx, COMPONENT, set),
        spec: {
          serviceName: SERVICES.redisNodes,
          replicas: count,
          // At first and after a power cut all at once: none can be ready without the others. Updates still go one by one.
          podManagementPolicy: "Parallel",
          updateStrategy: { type: "RollingUpdate" },
          selector: { matchLabels: selector },
          template: redisPodTemplate({
            context: ctx,
            settings,
            // Redis reads its configuration at its start only. Passwords and certificates are taken while it runs.
            files: { ...conf, ...files },
            configMap: config.metadata.name,
            scriptMap: scriptMap.metadata.name,
            usersSecret: users.metadata.name,
            tlsSecret: args.tlsSecret,
            serviceAccount: account.metadata.name,
          }),
          persistentVolumeClaimRetentionPolicy: { whenDeleted: "Retain", whenScaled: "Retain" },
          volumeClaimTemplates: [
            {
              metadata: { name: "data", labels: selector },
              spec: {
                accessModes: ["ReadWriteOnce"],
                ...(ctx.storageClass === undefined ? {} : { storageClassName: ctx.storageClass }),
                resources: { requests: { storage: settings.storage } },
              },
            },
          ],
        },
      },
      { ...child, ...data },
    );

    const hosts = Array.from({ length: count }, (_, i) => i);
    this.nodeHosts = pulumi
      .output(ctx.namespace)
      .apply((ns) => hosts.map((i) => podHost(set, i, SERVICES.redisNodes, ns, ctx.clusterDomain)));
    this.host = pulumi.interpolate`${SERVICES.redis}.${ctx.namespace}.svc.${ctx.clusterDomain}`;
    this.port = pulumi.output(PORTS.redis);
    new RedisKeeper(
      `${name}-keeper`,
      {
        context: ctx,
        settings,
        nodeHosts: this.nodeHosts,
        usersSecret: users.metadata.name,
        tlsSecret: args.tlsSecret,
      },
      child,
    );
    this.registerOutputs({
      host: this.host,
      port: this.port,
      nodeHosts: this.nodeHosts,
      syncUser: this.syncUser,
      syncPassword: this.syncPassword,
    });
  }
}

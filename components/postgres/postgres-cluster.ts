import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import { metadata, selectorOf, type RegionContext, unawaited } from "../common/context.ts";
import { COMPONENTS, podHost, postgresSetName, SERVICES } from "../common/names.ts";
import { patroniAccess, postgresNetworkPolicy } from "./access.ts";
import { CONFIG_FILES, configFiles, credentialsConfig, type Passwords } from "./patroni.ts";
import { dataClaim, OBJECTS, podTemplate } from "./pod.ts";
import { scriptFiles } from "./scripts.ts";
import { postgresServices } from "./services.ts";
import { slotOfRegion, type PostgresSettings } from "./settings.ts";

export interface PostgresClusterArgs {
  /** The region's context. */
  context: RegionContext;
  /** Validated settings; see settings.ts for defaults and units. */
  settings: PostgresSettings;
  /** Names of the other regions. Each has a permanent replication slot here, named after it. */
  peers: readonly string[];
  /** Name of the Secret with `tls.crt`, `tls.key` and `ca.crt`; the certificate is good for the Services, the pods'
   *  names and localhost. PostgreSQL and Patroni's REST API use it; renewal needs no restart. */
  tlsSecret: pulumi.Input<string>;
  /** Passwords of the database's roles and of what changes things in Patroni's REST API; secret. */
  passwords: { readonly [role in keyof Passwords]: pulumi.Input<string> };
}

/** PostgreSQL under Patroni: one primary, the others its replicas, with Kubernetes as the store of who leads. Replication
 *  is synchronous to a quorum inside the region; every other region has a slot waiting for its standby cluster.
 *
 *  Settings, passwords and certificates that change reach the running cluster within about 90 seconds (the kubelet's time
 *  to renew mounted files): by reload, or by a rolling restart of PostgreSQL for the parameters that need one. */
export class PostgresCluster extends pulumi.ComponentResource {
  /** Host of the primary, for writes. */
  readonly primaryHost: pulumi.Output<string>;
  /** Host of the replicas that are not too far behind, for reads; has no address when there is none. */
  readonly replicasHost: pulumi.Output<string>;
  /** Host of all members that may serve reads, the primary included. */
  readonly anyHost: pulumi.Output<string>;
  /** Host of each single member, ready or not, by ordinal. */
  readonly nodeHosts: pulumi.Output<string[]>;

  constructor(name: string, args: PostgresClusterArgs, opts?: pulumi.ComponentResourceOptions) {
    super("iam-ha:postgres:PostgresCluster", name, {}, opts);
    check(args);
    const { context: ctx, settings, peers } = args;
    const child = { parent: this };
    const kept = { ...child, protect: ctx.protect, retainOnDelete: ctx.protect };
    const of = COMPONENTS.postgres;

    const config = new k8s.core.v1.ConfigMap(
      `${name}-config`,
      { metadata: metadata(ctx, of, OBJECTS.config), data: configFiles(ctx, settings, peers) },
      child,
    );
    const scripts = new k8s.core.v1.ConfigMap(
      `${name}-scripts`,
      { metadata: metadata(ctx, of, OBJECTS.scripts), data: scriptFiles(settings) },
      child,
    );
    const file = pulumi.secret(
      pulumi
        .output(args.passwords)
        .apply((passwords) => `${JSON.stringify(credentialsConfig(passwords), undefined, 2)}\n`),
    );
    // The cluster's roles have these passwords: without the Secret nobody gets in again.
    const credentials = new k8s.core.v1.Secret(
      `${name}-credentials`,
      {
        metadata: metadata(ctx, of, OBJECTS.credentials),
        type: "Opaque",
        stringData: { [CONFIG_FILES.credentials]: file },
      },
      kept,
    );
    const access = patroniAccess(name, ctx, settings, child);
    postgresNetworkPolicy(name, ctx, child);
    new k8s.policy.v1.PodDisruptionBudget(
      name,
      {
        metadata: metadata(ctx, of, of),
        spec: { maxUnavailable: 1, selector: { matchLabels: selectorOf(ctx, of) } },
      },
      child,
    );
    const services = postgresServices(name, ctx, child);
    const set = postgresSetName(ctx.region);
    new k8s.apps.v1.StatefulSet(
      name,
      {
        metadata: metadata(ctx, of, set, unawaited(ctx)),
        spec: {
          serviceName: SERVICES.postgresNodes,
          replicas: settings.replicas,
          // Members need no order: whoever is first makes the cluster, the others copy it.
          podManagementPolicy: "Parallel",
          updateStrategy: { type: "RollingUpdate" },
          // Data outlives the set, and a smaller number of members.
          persistentVolumeClaimRetentionPolicy: { whenDeleted: "Retain", whenScaled: "Retain" },
          selector: { matchLabels: selectorOf(ctx, of) },
          template: podTemplate(ctx, settings, args.tlsSecret),
          volumeClaimTemplates: [dataClaim(ctx, settings)],
        },
      },
      // Patroni's state must be safe from the controller manager before Patroni writes it.
      { ...kept, dependsOn: [...access, ...services, config, scripts, credentials] },
    );

    const namespace = pulumi.output(ctx.namespace);
    const host = (service: string) => namespace.apply((ns) => `${service}.${ns}.svc.${ctx.clusterDomain}`);
    this.primaryHost = host(SERVICES.postgresPrimary);
    this.replicasHost = host(SERVICES.postgresReplicas);
    this.anyHost = host(SERVICES.postgresAny);
    this.nodeHosts = namespace.apply((ns) =>
      Array.from({ length: settings.replicas }, (_, i) =>
        podHost(set, i, SERVICES.postgresNodes, ns, ctx.clusterDomain),
      ),
    );
    this.registerOutputs({
      primaryHost: this.primaryHost,
      replicasHost: this.replicasHost,
      anyHost: this.anyHost,
      nodeHosts: this.nodeHosts,
    });
  }
}

/** What the settings' schema cannot see, as it does not know the other regions. */
function check({ context, settings, peers }: PostgresClusterArgs): void {
  const errors: ConstructorParameters<typeof pulumi.InputPropertyError>[0][] = [];
  const { max_replication_slots, max_wal_senders } = settings.parameters;
  const slots = settings.replicas - 1 + settings.slots.length + peers.length;
  if (slots > max_replication_slots) {
    errors.push({
      propertyPath: "settings.parameters.max_replication_slots",
      reason: `is ${max_replication_slots}; ${settings.replicas - 1} replicas, ${settings.slots.length} slots of \`slots\` and ${peers.length} other regions need ${slots}: raise it`,
    });
  }
  // One each, and two for a base backup.
  const senders = settings.replicas - 1 + peers.length + 2;
  if (senders > max_wal_senders) {
    errors.push({
      propertyPath: "settings.parameters.max_wal_senders",
      reason: `is ${max_wal_senders}; ${settings.replicas - 1} replicas, ${peers.length} other regions and a base backup need ${senders}: raise it`,
    });
  }
  const names = [...settings.slots, ...peers.map(slotOfRegion)];
  const twice = names.find((slot, i) => names.indexOf(slot) !== i);
  if (twice !== undefined) {
    errors.push({
      propertyPath: "settings.slots",
      reason: `${twice} is also the slot of another region: choose another name`,
    });
  }
  if (peers.includes(context.region)) {
    errors.push({ propertyPath: "peers", reason: `names the region itself, ${context.region}: leave it out` });
  }
  if (errors.length > 0)
    throw new pulumi.InputPropertiesError({ message: "invalid arguments of PostgresCluster", errors });
}

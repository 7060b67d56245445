import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import { ApiTier } from "./api/api-tier.ts";
import type { ApiSettings } from "./api/settings.ts";
import { Certificates, type CertificatePems, type CertificateSettings } from "./common/certificates.ts";
import { labelsOf, type RegionContext } from "./common/context.ts";
import { Credentials, type CredentialName, type CredentialSecrets, SHARED_CREDENTIALS } from "./common/credentials.ts";
import { certificateDnsNames, PORTS } from "./common/names.ts";
import { Edge } from "./edge/edge.ts";
import type { EdgeSettings } from "./edge/settings.ts";
import { GlobalDns } from "./global-dns/global-dns.ts";
import type { GlobalDnsSettings } from "./global-dns/settings.ts";
import { ConnectionPooler } from "./pooler/connection-pooler.ts";
import type { PoolerSettings } from "./pooler/settings.ts";
import { PostgresCluster } from "./postgres/postgres-cluster.ts";
import type { PostgresSettings } from "./postgres/settings.ts";
import { RedisCluster } from "./redis/redis-cluster.ts";
import { APPLICATION_USER, type RedisSettings, SYNC_USER } from "./redis/settings.ts";
import type { RegionOfTopology } from "./region-controller/plan.ts";
import { RegionController } from "./region-controller/region-controller.ts";
import type { RegionControllerSettings } from "./region-controller/settings.ts";
import type { WitnessSettings } from "./witness/settings.ts";
import { Witness } from "./witness/witness.ts";
import type { Link } from "../sidecar/core/link.ts";

export interface RegionArgs {
  /** What every part needs to know of the region, without its namespace, which the region makes. */
  context: Omit<RegionContext, "namespace">;
  /** Name of the namespace to make. */
  namespace: string;
  /** Every region of the platform by name, this one included. */
  regions: Readonly<Record<string, RegionOfTopology & { readonly code: string }>>;
  /** The other regions, by takeover priority; each has its own replication slot here. */
  peers: readonly string[];
  /** How data travels between the regions. */
  links: readonly Link[];
  certificates: CertificateSettings;
  /** PEM texts of certificates with source `inline`; secret. */
  certificatePems: pulumi.Output<CertificatePems>;
  /** Passwords given by config; secret. */
  secrets: pulumi.Output<CredentialSecrets>;
  /** Names of the passwords given by config. */
  secretNames: readonly CredentialName[];
  edge: EdgeSettings;
  api: ApiSettings;
  postgres: PostgresSettings;
  pooler: PoolerSettings;
  redis: RedisSettings;
  witness: WitnessSettings;
  regionController: RegionControllerSettings;
  globalDns: GlobalDnsSettings;
}

/** How long the platform's one name may be kept by resolvers where no server of ours answers for it, in seconds. */
const DEFAULT_TTL_SECONDS = 5;

/** One region of the platform, whole: edge, API, pooler, PostgreSQL and Redis, its member of the witness, its controller
 *  and its name servers, in a namespace of their own. */
export class Region extends pulumi.ComponentResource {
  /** Namespace of everything. */
  readonly namespace: pulumi.Output<string>;
  /** URL of the region's API at its edge. */
  readonly url: pulumi.Output<string>;
  /** In-cluster host of the PostgreSQL primary. */
  readonly postgresHost: pulumi.Output<string>;
  /** In-cluster host of the Redis cluster. */
  readonly redisHost: pulumi.Output<string>;

  constructor(name: string, args: RegionArgs, opts?: pulumi.ComponentResourceOptions) {
    super("iam-ha:region:Region", name, {}, opts);
    const child = { parent: this };
    const plain: RegionContext = { ...args.context, namespace: args.namespace };
    const namespace = new k8s.core.v1.Namespace(
      name,
      {
        metadata: {
          name: args.namespace,
          labels: {
            ...labelsOf(plain, "region"),
            "topology.kubernetes.io/region": args.regions[args.context.region]!.code,
            "pod-security.kubernetes.io/enforce": "restricted",
            "pod-security.kubernetes.io/warn": "restricted",
          },
        },
      },
      // Whoever deletes the namespace deletes every volume in it.
      { ...child, protect: args.context.protect, retainOnDelete: args.context.protect },
    );
    const context: RegionContext = { ...args.context, namespace: namespace.metadata.name };

    const { passwords } = new Credentials(
      `${name}-credentials`,
      { given: args.secrets, givenNames: args.secretNames },
      child,
    );
    const { secretNames: tls } = new Certificates(
      `${name}-certificates`,
      {
        context,
        settings: args.certificates,
        pems: args.certificatePems,
        dnsNames: certificateDnsNames(plain, args.namespace),
      },
      child,
    );

    const postgres = new PostgresCluster(
      `${name}-postgres`,
      {
        context,
        settings: args.postgres,
        peers: args.peers,
        tlsSecret: tls.postgres,
        passwords: {
          superuser: passwords.postgresSuperuser,
          replication: passwords.postgresReplication,
          rewind: passwords.postgresRewind,
          application: passwords.postgresApp,
          monitor: passwords.postgresMonitor,
          restApi: passwords.patroniRestApi,
        },
      },
      child,
    );
    const pooler = new ConnectionPooler(
      `${name}-pooler`,
      {
        context,
        settings: args.pooler,
        postgres: args.postgres,
        tlsSecret: tls.pooler,
        passwords: { application: passwords.postgresApp, stats: passwords.poolerStats },
      },
      child,
    );
    const redis = new RedisCluster(
      `${name}-redis`,
      { context, settings: args.redis, tlsSecret: tls.redis, password: passwords.redis },
      child,
    );
    const api = new ApiTier(
      `${name}-api`,
      {
        context,
        settings: args.api,
        tlsSecret: tls.api,
        pooler: { host: pooler.host, port: pooler.port, user: args.postgres.application.user },
        redis: { host: redis.host, port: redis.port, user: APPLICATION_USER },
        passwords: { application: passwords.postgresApp, redis: passwords.redis, admin: passwords.apiAdmin },
      },
      child,
    );
    const edge = new Edge(
      `${name}-edge`,
      {
        context,
        settings: args.edge,
        tlsSecret: tls.edge,
        clientTlsSecret: tls["edge-client"],
        upstream: api.upstream,
      },
      child,
    );

    this.betweenRegions(name, context, args, { passwords, tls, postgres, redis, child });

    this.namespace = namespace.metadata.name;
    this.url = edge.url;
    this.postgresHost = postgres.primaryHost;
    this.redisHost = redis.host;
    this.registerOutputs({
      namespace: this.namespace,
      url: this.url,
      postgresHost: this.postgresHost,
      redisHost: this.redisHost,
    });
  }

  /** What this region has for the sake of the others: the witness, the controller, the one name of all. */
  private betweenRegions(name: string, context: RegionContext, args: RegionArgs, own: OwnParts): void {
    const { passwords, tls, postgres, redis, child } = own;
    const regions = Object.keys(args.regions);
    new Witness(
      `${name}-witness`,
      {
        context,
        settings: args.witness,
        regions,
        tlsSecret: tls.witness,
        passwords: {
          root: passwords.witnessRoot,
          controller: passwords.witnessController,
          dns: passwords.witnessDns,
        },
      },
      child,
    );
    new GlobalDns(
      `${name}-dns`,
      { context, settings: args.globalDns, regions, tlsSecret: tls.dns, password: passwords.witnessDns },
      child,
    );
    new RegionController(
      `${name}-controller`,
      {
        context,
        settings: args.regionController,
        regions: args.regions,
        links: args.links,
        postgres: {
          nodeHosts: postgres.nodeHosts,
          primaryHost: postgres.primaryHost,
          database: args.postgres.application.database,
        },
        redis: {
          host: redis.host,
          port: redis.port,
          user: SYNC_USER,
          copy: args.redis.regions.copy,
          invalidate: args.redis.regions.invalidate,
        },
        tlsSecret: tls.region,
        passwords: {
          monitor: passwords.postgresMonitor,
          patroniRestApi: passwords.patroniRestApi,
          witness: passwords.witnessController,
          redisSync: redis.syncPassword,
        },
        sharedSecrets: Object.fromEntries(SHARED_CREDENTIALS.map((secret) => [secret, passwords[secret]])),
        globalDns: {
          ttlSeconds: args.globalDns.provider === "coredns" ? args.globalDns.ttlSeconds : DEFAULT_TTL_SECONDS,
        },
        edgePort: PORTS.edgeHttps,
      },
      child,
    );
  }
}

/** What the parts between regions need of the region's own. */
interface OwnParts {
  readonly passwords: Credentials["passwords"];
  readonly tls: Certificates["secretNames"];
  readonly postgres: PostgresCluster;
  readonly redis: RedisCluster;
  readonly child: { parent: pulumi.Resource };
}

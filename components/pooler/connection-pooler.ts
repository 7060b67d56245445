import { createHash } from "node:crypto";
import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import { metadata, selectorOf, labelsOf, type RegionContext } from "../common/context.ts";
import { imageReference } from "../common/images.ts";
import { COMPONENTS, podHost, PORTS, postgresSetName, SERVICES } from "../common/names.ts";
import { containerDefaults, memoryVolume, podDefaults } from "../common/pod.ts";
import type { PostgresSettings } from "../postgres/settings.ts";
import { poolerNetworkPolicy } from "./network-policy.ts";
import {
  haproxyCfg,
  hbaConf,
  pgbouncerIni,
  POOLER_LOOPBACK,
  POOLER_PATHS,
  POOLER_PORTS,
  STATS_USER,
  userlist,
  type PoolerPlan,
} from "./plan.ts";
import { PGBOUNCER_ALIVE, RELOAD_ON_CHANGE } from "./scripts.ts";
import type { PoolerSettings } from "./settings.ts";

const NAME = COMPONENTS.pooler;

/** How long a pod that ends still takes new connections: until every node has heard that it left the service. */
const LEAVE_SECONDS = 5;

export interface ConnectionPoolerArgs {
  /** The region's context. */
  context: RegionContext;
  /** Pools, time-outs and sizes. */
  settings: PoolerSettings;
  /** The database behind it: how many pods, how far behind one may be, the application's role and database. */
  postgres: Pick<PostgresSettings, "replicas" | "maxReplicaLagBytes" | "application">;
  /** Name of the Secret with the pooler's certificate: `tls.crt`, `tls.key`, and `ca.crt` that signed the database's. */
  tlsSecret: pulumi.Input<string>;
  passwords: {
    /** Of the application's role; clients log in with it, and the pooler to the database. */
    application: pulumi.Output<string>;
    /** Of the user for statistics, {@link STATS_USER}. */
    stats: pulumi.Output<string>;
  };
}

/** PgBouncer with two entries: database `iam` for writes, which is always the primary, and `iam_ro` for reads, which is
 *  the replicas and, while none is fit, the primary.
 *
 *  Behind PgBouncer each pod has an HAProxy on the loopback interface, which asks every database pod for its role once
 *  a second by Patroni's REST API. When a pod is no longer what it was, the connections to it are closed, and so no
 *  pooled connection stays on a demoted or frozen primary. TLS runs from PgBouncer through to the database. */
export class ConnectionPooler extends pulumi.ComponentResource {
  /** Host of both entries, inside the cluster. */
  readonly host: pulumi.Output<string>;
  /** Port of both entries. */
  readonly port: pulumi.Output<number>;

  constructor(name: string, args: ConnectionPoolerArgs, opts?: pulumi.ComponentResourceOptions) {
    super("iam-ha:pooler:ConnectionPooler", name, {}, opts);
    const { context, settings } = args;
    const child = { parent: this };
    const plan = pulumi.output(context.namespace).apply((namespace) => planOf(args, namespace));

    const config = new k8s.core.v1.ConfigMap(
      `${name}-config`,
      {
        metadata: metadata(context, NAME, `${NAME}-config`),
        data: {
          "pgbouncer.ini": plan.apply(pgbouncerIni),
          "hba.conf": plan.apply(hbaConf),
          "reload-on-change": RELOAD_ON_CHANGE,
          alive: PGBOUNCER_ALIVE,
        },
      },
      child,
    );
    const haproxyText = plan.apply(haproxyCfg);
    const haproxy = new k8s.core.v1.ConfigMap(
      `${name}-haproxy`,
      { metadata: metadata(context, NAME, `${NAME}-haproxy`), data: { "haproxy.cfg": haproxyText } },
      child,
    );
    const users = new k8s.core.v1.Secret(
      `${name}-users`,
      {
        metadata: metadata(context, NAME, `${NAME}-users`),
        stringData: {
          "userlist.txt": pulumi
            .all([args.passwords.application, args.passwords.stats])
            .apply(([application, stats]) =>
              userlist({ [args.postgres.application.user]: application, [STATS_USER]: stats }),
            ),
        },
      },
      child,
    );
    const account = new k8s.core.v1.ServiceAccount(
      name,
      { metadata: metadata(context, NAME, NAME), automountServiceAccountToken: false },
      child,
    );
    new k8s.core.v1.Service(
      name,
      {
        // Clients wait for the pods by themselves; the pods' own Deployment is what is waited for here.
        metadata: metadata(context, NAME, SERVICES.pooler, { "pulumi.com/skipAwait": "true" }),
        spec: {
          selector: selectorOf(context, NAME),
          ports: [{ name: "postgresql", port: PORTS.pooler, targetPort: "postgresql" }],
        },
      },
      child,
    );
    new k8s.policy.v1.PodDisruptionBudget(
      name,
      {
        metadata: metadata(context, NAME, NAME),
        spec: { maxUnavailable: 1, selector: { matchLabels: selectorOf(context, NAME) } },
      },
      child,
    );
    poolerNetworkPolicy(name, context, child);

    new k8s.apps.v1.Deployment(
      name,
      {
        metadata: metadata(context, NAME, NAME),
        spec: {
          replicas: settings.replicas,
          // A new pod is at work before an old one begins to drain.
          strategy: { rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } },
          selector: { matchLabels: selectorOf(context, NAME) },
          template: {
            metadata: {
              labels: labelsOf(context, NAME),
              // HAProxy only: reloading it would leave connections with a process that no longer follows the primary,
              // so a new configuration is rolled out, each pod draining. PgBouncer reloads its own files by itself.
              annotations: { "iam-ha/haproxy-checksum": haproxyText.apply(checksum) },
            },
            spec: {
              ...podDefaults(context, NAME),
              serviceAccountName: account.metadata.name,
              terminationGracePeriodSeconds: LEAVE_SECONDS + settings.drainSeconds + 5,
              // PgBouncer checks the name in the database's certificate, and must come out at HAProxy.
              hostAliases: [{ ip: POOLER_LOOPBACK, hostnames: [SERVICES.postgresPrimary, SERVICES.postgresReplicas] }],
              // A sidecar: it is there before PgBouncer, and still there while PgBouncer drains.
              initContainers: [haproxyContainer(context, settings)],
              containers: [pgbouncerContainer(context, settings)],
              volumes: [
                { name: "config", configMap: { name: config.metadata.name } },
                { name: "haproxy", configMap: { name: haproxy.metadata.name } },
                { name: "users", secret: { secretName: users.metadata.name, defaultMode: 0o440 } },
                { name: "tls", secret: { secretName: args.tlsSecret, defaultMode: 0o440 } },
                memoryVolume("run", "1Mi"),
                memoryVolume("haproxy-run", "1Mi"),
              ],
            },
          },
        },
      },
      child,
    );

    this.host = pulumi.output(SERVICES.pooler);
    this.port = pulumi.output(PORTS.pooler);
    this.registerOutputs({ host: this.host, port: this.port });
  }
}

function planOf(args: ConnectionPoolerArgs, namespace: string): PoolerPlan {
  const set = postgresSetName(args.context.region);
  const { postgres, context } = args;
  return {
    settings: args.settings,
    user: postgres.application.user,
    database: postgres.application.database,
    servers: { write: SERVICES.postgresPrimary, read: SERVICES.postgresReplicas },
    nodes: Array.from({ length: postgres.replicas }, (_, i) => ({
      name: `${set}-${i}`,
      host: podHost(set, i, SERVICES.postgresNodes, namespace, context.clusterDomain),
    })),
    ports: POOLER_PORTS,
    postgresPort: PORTS.postgres,
    patroniPort: PORTS.patroni,
    maxReplicaLagBytes: postgres.maxReplicaLagBytes,
  };
}

function checksum(text: string): string {
  return createHash("sha256").update(text).digest("hex").slice(0, 16);
}

type Container = k8s.types.input.core.v1.Container;

function pgbouncerContainer(context: RegionContext, settings: PoolerSettings): Container {
  const { config, users, tls, run } = POOLER_PATHS;
  const watched = [
    `${config}/pgbouncer.ini`,
    `${config}/hba.conf`,
    `${users}/userlist.txt`,
    `${tls}/tls.crt`,
    `${tls}/tls.key`,
    `${tls}/ca.crt`,
  ];
  const alive = { exec: { command: ["/bin/bash", `${config}/alive`, String(PORTS.pooler)] }, timeoutSeconds: 5 };
  return {
    name: "pgbouncer",
    image: imageReference(context.images, "pgbouncer"),
    ...containerDefaults(context, settings.resources.pgbouncer),
    // As arguments, so that the image's own entry point (an init process) stays in front.
    args: ["/bin/sh", `${config}/reload-on-change`, "HUP", ...watched, "--", "pgbouncer", `${config}/pgbouncer.ini`],
    ports: [{ name: "postgresql", containerPort: PORTS.pooler }],
    // Of itself alone: with no database at all the pooler is still what clients have to wait at.
    startupProbe: { tcpSocket: { port: "postgresql" }, periodSeconds: 1, failureThreshold: 30 },
    readinessProbe: { tcpSocket: { port: "postgresql" }, periodSeconds: 5, timeoutSeconds: 2 },
    livenessProbe: { ...alive, periodSeconds: 15, failureThreshold: 3 },
    // On SIGTERM PgBouncer takes no new connection, and ends when its clients have left.
    lifecycle: { preStop: { sleep: { seconds: LEAVE_SECONDS } } },
    volumeMounts: [
      { name: "config", mountPath: config, readOnly: true },
      { name: "users", mountPath: users, readOnly: true },
      { name: "tls", mountPath: tls, readOnly: true },
      { name: "run", mountPath: run },
    ],
  };
}

/** When every database pod has been asked once: name resolution, one interval, one answer. */
function settleSeconds({ healthCheck }: PoolerSettings): number {
  return 1 + Math.ceil((healthCheck.intervalMillis + healthCheck.timeoutMillis) / 1000);
}

function haproxyContainer(context: RegionContext, settings: PoolerSettings): Container {
  const { haproxy, haproxyRun, config, tls } = POOLER_PATHS;
  const health = { httpGet: { path: "/healthz", port: "metrics" }, timeoutSeconds: 2 };
  return {
    name: "haproxy",
    image: imageReference(context.images, "pgbouncer"),
    restartPolicy: "Always",
    ...containerDefaults(context, settings.resources.haproxy),
    args: [
      "/bin/sh",
      `${config}/reload-on-change`,
      "USR2",
      `${tls}/ca.crt`,
      "--",
      "haproxy",
      "-W",
      "-db",
      "-f",
      `${haproxy}/haproxy.cfg`,
    ],
    ports: [{ name: "metrics", containerPort: POOLER_PORTS.metrics }],
    // HAProxy takes every server for fit until its first check. PgBouncer starts after this, when roles are known.
    startupProbe: { ...health, initialDelaySeconds: settleSeconds(settings), periodSeconds: 1, failureThreshold: 30 },
    livenessProbe: { ...health, periodSeconds: 15, failureThreshold: 3 },
    volumeMounts: [
      { name: "haproxy", mountPath: haproxy, readOnly: true },
      { name: "config", mountPath: config, readOnly: true },
      { name: "tls", mountPath: tls, readOnly: true },
      { name: "haproxy-run", mountPath: haproxyRun },
    ],
  };
}

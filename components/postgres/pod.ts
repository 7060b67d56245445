import type * as k8s from "@pulumi/kubernetes";
import type * as pulumi from "@pulumi/pulumi";
import { labelsOf, type RegionContext } from "../common/context.ts";
import { imageReference } from "../common/images.ts";
import { COMPONENTS, PORTS, SERVICES } from "../common/names.ts";
import { containerDefaults, memoryVolume, podDefaults } from "../common/pod.ts";
import { ACCOUNT } from "./access.ts";
import { CONFIG_FILES, PATHS, SCOPE, SCOPE_LABEL } from "./patroni.ts";
import type { PostgresSettings } from "./settings.ts";

type Container = k8s.types.input.core.v1.Container;
type EnvVar = k8s.types.input.core.v1.EnvVar;

/** Names of the objects that the pods mount. */
export const OBJECTS = {
  config: "postgresql-patroni",
  scripts: "postgresql-scripts",
  credentials: "postgresql-credentials",
} as const;

const DATA = "data";
const TOKEN = "/var/run/secrets/kubernetes.io/serviceaccount";

/** The pods of the cluster. No checksum of configuration or secrets stands on them: whatever is in the mounted files
 *  takes effect in running pods, by the reconciler's reloads, patches and, for parameters that need it, restarts of
 *  PostgreSQL alone. A pod is only replaced when its own description changes, such as its image. */
export function podTemplate(
  ctx: RegionContext,
  settings: PostgresSettings,
  tlsSecret: pulumi.Input<string>,
): k8s.types.input.core.v1.PodTemplateSpec {
  return {
    metadata: {
      labels: { ...labelsOf(ctx, COMPONENTS.postgres), [SCOPE_LABEL]: SCOPE },
      annotations: { "kubectl.kubernetes.io/default-container": "postgres" },
    },
    spec: {
      ...podDefaults(ctx, COMPONENTS.postgres),
      serviceAccountName: ACCOUNT,
      terminationGracePeriodSeconds: settings.terminationGraceSeconds,
      // Members find each other by fully qualified names: no search list to walk, and a lost answer is asked for again
      // after a second, as a failover waits for it.
      dnsConfig: {
        options: [
          { name: "ndots", value: "1" },
          { name: "timeout", value: "1" },
          { name: "attempts", value: "3" },
        ],
      },
      // Before anything that a probe looks at: whether there may be a database here is known when the region controller
      // knows it, and that may take long.
      initContainers: [birthContainer(ctx)],
      containers: [postgresContainer(ctx, settings), reconcilerContainer(ctx, settings)],
      volumes: [
        {
          name: "config",
          projected: {
            defaultMode: 0o440,
            sources: [
              { configMap: { name: OBJECTS.config } },
              {
                secret: {
                  name: OBJECTS.credentials,
                  items: [{ key: CONFIG_FILES.credentials, path: CONFIG_FILES.credentials }],
                },
              },
            ],
          },
        },
        { name: "scripts", configMap: { name: OBJECTS.scripts, defaultMode: 0o444 } },
        // PostgreSQL takes a key that belongs to root only if nobody but its group can read it.
        { name: "tls", secret: { secretName: tlsSecret, defaultMode: 0o440 } },
        // Only Patroni talks to the Kubernetes API, so only its container gets a token.
        {
          name: "token",
          projected: {
            defaultMode: 0o440,
            sources: [
              { serviceAccountToken: { path: "token", expirationSeconds: 3607 } },
              { configMap: { name: "kube-root-ca.crt", items: [{ key: "ca.crt", path: "ca.crt" }] } },
              { downwardAPI: { items: [{ path: "namespace", fieldRef: { fieldPath: "metadata.namespace" } }] } },
            ],
          },
        },
        memoryVolume("shm", settings.sharedMemory),
        memoryVolume("sockets", "16Mi"),
        memoryVolume("patroni-run", "16Mi"),
        memoryVolume("reconciler-run", "1Mi"),
        { name: "tmp", emptyDir: { sizeLimit: "1Gi" } },
      ],
    },
  };
}

/** The volume of each pod. */
export function dataClaim(
  ctx: RegionContext,
  settings: PostgresSettings,
): k8s.types.input.core.v1.PersistentVolumeClaim {
  return {
    metadata: { name: DATA, labels: labelsOf(ctx, COMPONENTS.postgres) },
    spec: {
      accessModes: ["ReadWriteOnce"],
      ...(ctx.storageClass === undefined ? {} : { storageClassName: ctx.storageClass }),
      resources: { requests: { storage: settings.storageSize } },
    },
  };
}

const field = (name: string, fieldPath: string): EnvVar => ({ name, valueFrom: { fieldRef: { fieldPath } } });

/** Where a pod asks what its database is to be; see birth.py. */
function controllerEnv(ctx: RegionContext): EnvVar[] {
  const host = `${SERVICES.regionController}.$(PATRONI_KUBERNETES_NAMESPACE).svc.${ctx.clusterDomain}`;
  return [{ name: "IAM_HA_REGION_CONTROLLER", value: `https://${host}:${PORTS.regionController}` }];
}

function birthContainer(ctx: RegionContext): Container {
  return {
    name: "birth",
    image: imageReference(ctx.images, "postgres"),
    ...containerDefaults(ctx, { cpu: "10m", cpuLimit: "500m", memory: "64Mi" }),
    args: ["/usr/bin/python3", `${PATHS.scripts}/birth.py`],
    env: [field("PATRONI_KUBERNETES_NAMESPACE", "metadata.namespace"), ...controllerEnv(ctx)],
    volumeMounts: [
      { name: DATA, mountPath: PATHS.volume, readOnly: true },
      { name: "config", mountPath: PATHS.config, readOnly: true },
      { name: "scripts", mountPath: PATHS.scripts, readOnly: true },
      { name: "tls", mountPath: PATHS.tls, readOnly: true },
    ],
  };
}

function postgresContainer(ctx: RegionContext, settings: PostgresSettings): Container {
  const host = `$(PATRONI_NAME).${SERVICES.postgresNodes}.$(PATRONI_KUBERNETES_NAMESPACE).svc.${ctx.clusterDomain}`;
  const get = (path: string) => ({ httpGet: { path, port: "patroni", scheme: "HTTPS" } });
  return {
    name: "postgres",
    image: imageReference(ctx.images, "postgres"),
    ...containerDefaults(ctx, settings.resources),
    args: ["/usr/bin/python3", `${PATHS.scripts}/start.py`, "postgres-entrypoint", PATHS.patroniConfig],
    env: [
      field("PATRONI_NAME", "metadata.name"),
      field("PATRONI_KUBERNETES_NAMESPACE", "metadata.namespace"),
      field("PATRONI_KUBERNETES_POD_IP", "status.podIP"),
      { name: "PATRONI_POSTGRESQL_CONNECT_ADDRESS", value: `${host}:${PORTS.postgres}` },
      { name: "PATRONI_RESTAPI_CONNECT_ADDRESS", value: `${host}:${PORTS.patroni}` },
      ...controllerEnv(ctx),
      // For patronictl in the container.
      { name: "PATRONICTL_CONFIG_FILE", value: PATHS.config },
      { name: "PGHOST", value: PATHS.sockets },
      { name: "HOME", value: PATHS.patroniRun },
    ],
    ports: [
      { name: "postgresql", containerPort: PORTS.postgres },
      { name: "patroni", containerPort: PORTS.patroni },
    ],
    // Patroni's API answers as soon as Patroni runs, while a base backup or a long recovery still goes on.
    // Before that start.py may wait for the region controller, 60 s at most.
    startupProbe: { ...get("/liveness"), periodSeconds: 1, timeoutSeconds: 2, failureThreshold: 180 },
    // Looks at Patroni's own loop only, and not at PostgreSQL, the leader or the Kubernetes API.
    livenessProbe: { ...get("/liveness"), periodSeconds: 10, timeoutSeconds: 5, failureThreshold: 3 },
    // Ready is who may serve reads: the leader, and running replicas that are not too far behind. Patroni 4.0 knows no
    // lag on /readiness.
    readinessProbe: {
      ...get(`/read-only?lag=${settings.maxReplicaLagBytes}`),
      periodSeconds: 2,
      timeoutSeconds: 2,
      failureThreshold: 2,
    },
    volumeMounts: [
      { name: DATA, mountPath: PATHS.volume },
      { name: "config", mountPath: PATHS.config, readOnly: true },
      { name: "scripts", mountPath: PATHS.scripts, readOnly: true },
      { name: "tls", mountPath: PATHS.tls, readOnly: true },
      { name: "token", mountPath: TOKEN, readOnly: true },
      { name: "shm", mountPath: "/dev/shm" },
      { name: "sockets", mountPath: PATHS.sockets },
      { name: "patroni-run", mountPath: PATHS.patroniRun },
      { name: "tmp", mountPath: "/tmp" },
    ],
  };
}

function reconcilerContainer(ctx: RegionContext, settings: PostgresSettings): Container {
  const { reconciler } = settings;
  // Several rounds, one of which may wait for a restart of another member.
  const silence = 3 * reconciler.intervalSeconds + 180;
  const age = `$(( $(date +%s) - $(stat -c %Y ${PATHS.reconcilerRun}/alive) ))`;
  return {
    name: "reconciler",
    image: imageReference(ctx.images, "postgres"),
    ...containerDefaults(ctx, reconciler.resources),
    args: ["/usr/bin/python3", `${PATHS.scripts}/reconciler.py`],
    env: [{ name: "HOME", value: PATHS.reconcilerRun }],
    livenessProbe: {
      exec: { command: ["sh", "-c", `test ${age} -lt ${silence}`] },
      initialDelaySeconds: 60,
      periodSeconds: 60,
      timeoutSeconds: 10,
      failureThreshold: 3,
    },
    volumeMounts: [
      { name: "config", mountPath: PATHS.config, readOnly: true },
      { name: "scripts", mountPath: PATHS.scripts, readOnly: true },
      { name: "tls", mountPath: PATHS.tls, readOnly: true },
      { name: "sockets", mountPath: PATHS.sockets },
      { name: "reconciler-run", mountPath: PATHS.reconcilerRun },
    ],
  };
}

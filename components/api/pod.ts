import type * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import type { RegionContext } from "../common/context.ts";
import { imageReference } from "../common/images.ts";
import { COMPONENTS, EDGE_CLIENT_NAME } from "../common/names.ts";
import { containerDefaults, memoryVolume, podDefaults } from "../common/pod.ts";
import { ENTRY_DATABASES } from "../pooler/plan.ts";
import type { API_VARIABLES, ApiSettings } from "./settings.ts";

type PodSpec = k8s.types.input.core.v1.PodSpec;
type Variable = (typeof API_VARIABLES)[number];

/** Where the API finds its files. */
const PATHS = { tls: "/etc/iam-api/tls", secrets: "/etc/iam-api/secrets" } as const;

/** Time for the edge's NGINX to notice that a pod has left, before it stops listening. */
const LEAVE_SECONDS = 2;

export interface ApiPodArgs {
  context: RegionContext;
  settings: ApiSettings;
  tlsSecret: pulumi.Input<string>;
  secretName: pulumi.Input<string>;
  pooler: { host: pulumi.Input<string>; port: pulumi.Input<number>; user: string };
  redis: { host: pulumi.Input<string>; port: pulumi.Input<number>; user: string };
}

/** A pod of the API. Its probes ask for its own process alone: a database that is down must not take every API pod out
 *  at once, nor restart them; the edge decides by /health/db and /health/redis. */
export function apiPod(args: ApiPodArgs): PodSpec {
  const { context: ctx, settings } = args;
  const probe = { httpGet: { path: "/health/live", port: "api", scheme: settings.tls ? "HTTPS" : "HTTP" } };
  // As arguments: the image's own entry point (an init that reaps and forwards signals) stays in front.
  const start = settings.command
    ? { command: settings.command }
    : settings.image === undefined
      ? { args: ["node", "/app/reference-api.mjs"] }
      : {};
  return {
    ...podDefaults(ctx, COMPONENTS.api),
    serviceAccountName: COMPONENTS.api,
    terminationGracePeriodSeconds: LEAVE_SECONDS + settings.drainSeconds + 5,
    containers: [
      {
        name: "api",
        image: settings.image ?? imageReference(ctx.images, "node"),
        ...containerDefaults(ctx, settings.resources),
        ...start,
        env: variables(args),
        ports: [{ name: "api", containerPort: settings.port, protocol: "TCP" }],
        startupProbe: { ...probe, periodSeconds: 1, timeoutSeconds: 2, failureThreshold: 120 },
        readinessProbe: {
          ...probe,
          httpGet: { ...probe.httpGet, path: "/health/ready" },
          periodSeconds: 2,
          timeoutSeconds: 2,
          failureThreshold: 2,
        },
        livenessProbe: { ...probe, periodSeconds: 10, timeoutSeconds: 5, failureThreshold: 3 },
        lifecycle: { preStop: { sleep: { seconds: LEAVE_SECONDS } } },
        volumeMounts: [
          { name: "tls", mountPath: PATHS.tls, readOnly: true },
          { name: "secrets", mountPath: PATHS.secrets, readOnly: true },
          { name: "tmp", mountPath: "/tmp" },
        ],
      },
    ],
    volumes: [
      { name: "tls", secret: { secretName: args.tlsSecret, defaultMode: 0o440 } },
      { name: "secrets", secret: { secretName: args.secretName, defaultMode: 0o440 } },
      memoryVolume("tmp", settings.tmpSize),
    ],
  };
}

function variables({ context, settings, pooler, redis }: ApiPodArgs): k8s.types.input.core.v1.EnvVar[] {
  const text = (value: pulumi.Input<string | number>) => pulumi.output(value).apply(String);
  const plain: Record<Exclude<Variable, "SERVER_ID">, pulumi.Input<string> | undefined> = {
    REGION: context.region,
    PORT: String(settings.port),
    TLS_CERT_FILE: settings.tls ? `${PATHS.tls}/tls.crt` : undefined,
    TLS_KEY_FILE: settings.tls ? `${PATHS.tls}/tls.key` : undefined,
    CA_FILE: `${PATHS.tls}/ca.crt`,
    EDGE_CLIENT_NAME: settings.tls ? EDGE_CLIENT_NAME : undefined,
    DATABASE_HOST: pooler.host,
    DATABASE_PORT: text(pooler.port),
    DATABASE_WRITE: ENTRY_DATABASES.write,
    DATABASE_READ: ENTRY_DATABASES.read,
    DATABASE_USER: pooler.user,
    DATABASE_PASSWORD_FILE: `${PATHS.secrets}/database`,
    REDIS_HOST: redis.host,
    REDIS_PORT: text(redis.port),
    REDIS_USER: redis.user,
    REDIS_PASSWORD_FILE: `${PATHS.secrets}/redis`,
    ADMIN_PASSWORD_FILE: `${PATHS.secrets}/admin`,
    SESSION_TTL_SECONDS: String(settings.sessionTtlSeconds),
    EXTERNAL_SERVICES: JSON.stringify(settings.externalServices),
    HEALTH_API_TIMEOUT_MILLIS: String(settings.healthTimeouts.apiMillis),
    HEALTH_DATABASE_TIMEOUT_MILLIS: String(settings.healthTimeouts.databaseMillis),
    HEALTH_REDIS_TIMEOUT_MILLIS: String(settings.healthTimeouts.redisMillis),
    HEALTH_EXTERNAL_TIMEOUT_MILLIS: String(settings.healthTimeouts.externalMillis),
    DRAIN_SECONDS: String(settings.drainSeconds),
  };
  const own = { name: "SERVER_ID", valueFrom: { fieldRef: { fieldPath: "metadata.name" } } };
  const set = [...Object.entries(plain), ...Object.entries(settings.env)].filter(([, value]) => value !== undefined);
  return [own, ...set.map(([name, value]) => ({ name, value: value! }))];
}

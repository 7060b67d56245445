import { createHash } from "node:crypto";
import type * as k8s from "@pulumi/kubernetes";
import type * as pulumi from "@pulumi/pulumi";
import { labelsOf, type RegionContext } from "../common/context.ts";
import { imageReference } from "../common/images.ts";
import { COMPONENTS, PORTS, SERVICES } from "../common/names.ts";
import { containerDefaults, memoryVolume, podDefaults } from "../common/pod.ts";
import { BUS_PORT, PATHS, scriptEnvironment } from "./plan.ts";
import type { RedisSettings } from "./settings.ts";

export interface RedisPodArgs {
  context: RegionContext;
  settings: RedisSettings;
  /** Content of what the process reads at its start only: a change restarts the pods, one by one. */
  files: Record<string, string>;
  configMap: pulumi.Input<string>;
  scriptMap: pulumi.Input<string>;
  usersSecret: pulumi.Input<string>;
  tlsSecret: pulumi.Input<string>;
  serviceAccount: pulumi.Input<string>;
}

/** The pod of one node. */
export function redisPodTemplate(args: RedisPodArgs): k8s.types.input.core.v1.PodTemplateSpec {
  const { context: ctx, settings } = args;
  const script = (name: string) => ["/bin/sh", `${PATHS.scripts}/${name}`];
  return {
    metadata: {
      labels: labelsOf(ctx, COMPONENTS.redis),
      annotations: { "iam-ha/config-sha256": checksum(args.files) },
    },
    spec: {
      ...podDefaults(ctx, COMPONENTS.redis),
      serviceAccountName: args.serviceAccount,
      terminationGracePeriodSeconds: settings.terminationGraceSeconds,
      containers: [
        {
          name: "redis",
          image: imageReference(ctx.images, "redis"),
          ...containerDefaults(ctx, settings.resources),
          // The image's entry point is an init process, which reaps what the scripts leave behind.
          args: script("start.sh"),
          env: environment(ctx, settings),
          ports: [
            { name: "redis", containerPort: PORTS.redis },
            { name: "bus", containerPort: BUS_PORT },
          ],
          volumeMounts: [
            { name: "data", mountPath: PATHS.data },
            { name: "run", mountPath: PATHS.run },
            { name: "config", mountPath: PATHS.config, readOnly: true },
            { name: "scripts", mountPath: PATHS.scripts, readOnly: true },
            { name: "users", mountPath: PATHS.secrets, readOnly: true },
            { name: "tls", mountPath: PATHS.tls, readOnly: true },
          ],
          // It answers while it loads its data, so starting takes no longer with much of it.
          startupProbe: {
            exec: { command: script("alive.sh") },
            periodSeconds: 2,
            timeoutSeconds: 10,
            failureThreshold: 30,
          },
          livenessProbe: {
            exec: { command: script("alive.sh") },
            periodSeconds: 3 * settings.probePeriodSeconds,
            timeoutSeconds: 10,
            // Redis replaces a hanging master within seconds; its restart is not what anyone waits for.
            failureThreshold: 5,
          },
          readinessProbe: {
            exec: { command: script("ready.sh") },
            periodSeconds: settings.probePeriodSeconds,
            timeoutSeconds: 5,
            failureThreshold: 2,
          },
          lifecycle: { preStop: { exec: { command: script("stop.sh") } } },
        },
      ],
      volumes: [
        memoryVolume("run", "1Mi"),
        { name: "config", configMap: { name: args.configMap, defaultMode: 0o444 } },
        { name: "scripts", configMap: { name: args.scriptMap, defaultMode: 0o555 } },
        { name: "users", secret: { secretName: args.usersSecret, defaultMode: 0o440 } },
        { name: "tls", secret: { secretName: args.tlsSecret, defaultMode: 0o440 } },
      ],
    },
  };
}

function environment(ctx: RegionContext, settings: RedisSettings): k8s.types.input.core.v1.EnvVar[] {
  const field = (name: string, fieldPath: string) => ({ name, valueFrom: { fieldRef: { fieldPath } } });
  return [
    field("POD_IP", "status.podIP"),
    field("POD_NAME", "metadata.name"),
    field("POD_NAMESPACE", "metadata.namespace"),
    // Kubernetes fills in those above. Kept in step with `podHost`, by which the keeper and clients know the node.
    { name: "ANNOUNCED_HOST", value: `$(POD_NAME).${SERVICES.redisNodes}.$(POD_NAMESPACE).svc.${ctx.clusterDomain}` },
    ...Object.entries(scriptEnvironment(settings, PORTS.redis)).map(([name, value]) => ({ name, value })),
  ];
}

function checksum(files: Record<string, string>): string {
  return createHash("sha256")
    .update(JSON.stringify(Object.entries(files).sort()))
    .digest("hex");
}

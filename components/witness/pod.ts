import { createHash } from "node:crypto";
import type * as k8s from "@pulumi/kubernetes";
import type * as pulumi from "@pulumi/pulumi";
import { labelsOf, type RegionContext } from "../common/context.ts";
import { imageReference } from "../common/images.ts";
import { COMPONENTS, PORTS } from "../common/names.ts";
import { containerDefaults, memoryVolume, podDefaults } from "../common/pod.ts";
import { PATHS } from "./plan.ts";
import type { WitnessSettings } from "./settings.ts";

export interface WitnessPodArgs {
  context: RegionContext;
  settings: WitnessSettings;
  /** Content of witness.json, which is read at the start only: a change restarts the pod. */
  config: string;
  configMap: pulumi.Input<string>;
  usersSecret: pulumi.Input<string>;
  tlsSecret: pulumi.Input<string>;
  serviceAccount: pulumi.Input<string>;
}

/** The member's pod. */
export function witnessPodTemplate(args: WitnessPodArgs): k8s.types.input.core.v1.PodTemplateSpec {
  const { context: ctx, settings } = args;
  const probe = (what: "alive" | "ready") => ({ exec: { command: ["witness-probe", what] }, timeoutSeconds: 5 });
  return {
    metadata: {
      labels: labelsOf(ctx, COMPONENTS.witness),
      annotations: { "iam-ha/config-sha256": createHash("sha256").update(args.config).digest("hex") },
    },
    spec: {
      ...podDefaults(ctx, COMPONENTS.witness),
      serviceAccountName: args.serviceAccount,
      terminationGracePeriodSeconds: settings.terminationGraceSeconds,
      containers: [
        {
          name: "etcd",
          image: imageReference(ctx.images, "witness"),
          ...containerDefaults(ctx, settings.resources),
          args: ["witness-entrypoint", `${PATHS.config}/witness.json`],
          env: [{ name: "POD_IP", valueFrom: { fieldRef: { fieldPath: "status.podIP" } } }],
          ports: [
            { name: "client", containerPort: PORTS.witnessClient },
            { name: "peer", containerPort: PORTS.witnessPeer },
          ],
          volumeMounts: [
            { name: "data", mountPath: PATHS.data },
            { name: "run", mountPath: PATHS.run },
            { name: "config", mountPath: PATHS.config, readOnly: true },
            { name: "users", mountPath: PATHS.secrets, readOnly: true },
            { name: "tls", mountPath: PATHS.tls, readOnly: true },
          ],
          startupProbe: { ...probe("alive"), periodSeconds: 2, failureThreshold: 30 },
          // Of the process alone: a member without a majority is no better after a restart.
          livenessProbe: { ...probe("alive"), periodSeconds: 3 * settings.probePeriodSeconds, failureThreshold: 5 },
          // Without asking for a majority: the first region to come up would wait for another one.
          readinessProbe: { ...probe("ready"), periodSeconds: settings.probePeriodSeconds, failureThreshold: 2 },
        },
      ],
      volumes: [
        memoryVolume("run", "1Mi"),
        { name: "config", configMap: { name: args.configMap, defaultMode: 0o444 } },
        { name: "users", secret: { secretName: args.usersSecret, defaultMode: 0o440 } },
        { name: "tls", secret: { secretName: args.tlsSecret, defaultMode: 0o440 } },
      ],
    },
  };
}

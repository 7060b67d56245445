import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import { metadata, selectorOf, type RegionContext } from "../common/context.ts";
import { COMPONENTS, PORTS, SERVICES } from "../common/names.ts";
import { wanService } from "../common/wan.ts";
import { witnessNetworkPolicy } from "./network-policy.ts";
import { memberUrls, witnessConfig } from "./plan.ts";
import { witnessPodTemplate } from "./pod.ts";
import type { WitnessSettings } from "./settings.ts";

const COMPONENT = COMPONENTS.witness;

export interface WitnessArgs {
  /** The region's context. */
  context: RegionContext;
  /** Timings, sizes and limits; defaults are those of the schema. */
  settings: WitnessSettings;
  /** Names of all regions, this one included: each has one member. */
  regions: readonly string[];
  /** Name of the Secret with tls.crt, tls.key and ca.crt: good for `witness-<region>.<domain>`, `witness` and `localhost`,
   *  as a server's and as a client's certificate. */
  tlsSecret: pulumi.Input<string>;
  /** Passwords of etcd's users, the same in every region; secret. */
  passwords: {
    /** `root`, with which members join and set up the other users. */
    root: pulumi.Input<string>;
    /** `CONTROLLER_USER`. */
    controller: pulumi.Input<string>;
    /** `DNS_USER`. */
    dns: pulumi.Input<string>;
  };
}

/** This region's member of the witness: an etcd cluster with one member a region, which holds who is active under which
 *  epoch, and survives the loss of any one region. It forms with the others, in any order, and joins again by itself; it
 *  is ready without them, so no region's stack waits for another. */
export class Witness extends pulumi.ComponentResource {
  /** URL of this region's member, for clients, as every region knows it. */
  readonly url: pulumi.Output<string>;
  /** URL of every region's member, for clients, by region. */
  readonly urls: pulumi.Output<Record<string, string>>;

  constructor(name: string, args: WitnessArgs, opts?: pulumi.ComponentResourceOptions) {
    super("iam-ha:witness:Witness", name, {}, opts);
    const { context: ctx, settings } = args;
    checkRegions(ctx, args.regions);
    const child = { parent: this };
    const selector = selectorOf(ctx, COMPONENT);
    const data = { protect: ctx.protect, retainOnDelete: ctx.protect };

    const users = new k8s.core.v1.Secret(
      `${name}-users`,
      {
        metadata: metadata(ctx, COMPONENT, "witness-users"),
        type: "Opaque",
        stringData: {
          root: pulumi.secret(args.passwords.root),
          controller: pulumi.secret(args.passwords.controller),
          dns: pulumi.secret(args.passwords.dns),
        },
      },
      // The member's data has these users: with others it would let nobody in.
      { ...child, ...data },
    );
    const configText = `${JSON.stringify(witnessConfig(ctx, settings, args.regions), undefined, 2)}\n`;
    const config = new k8s.core.v1.ConfigMap(
      `${name}-config`,
      { metadata: metadata(ctx, COMPONENT, "witness-config"), data: { "witness.json": configText } },
      child,
    );
    const account = new k8s.core.v1.ServiceAccount(
      name,
      { metadata: metadata(ctx, COMPONENT, COMPONENT), automountServiceAccountToken: false },
      child,
    );
    const wan = wanService(ctx, ctx.wan, "witness");
    new k8s.core.v1.Service(
      name,
      {
        // The StatefulSet is awaited; awaiting the Service too would be the same wait twice.
        metadata: metadata(ctx, COMPONENT, SERVICES.witness, { "pulumi.com/skipAwait": "true", ...wan.annotations }),
        spec: {
          ...wan.spec,
          selector,
          // Members find each other before any of them serves.
          publishNotReadyAddresses: true,
          ports: [
            { name: "client", port: PORTS.witnessClient, targetPort: "client" },
            { name: "peer", port: PORTS.witnessPeer, targetPort: "peer" },
          ],
        },
      },
      child,
    );
    new k8s.networking.v1.NetworkPolicy(name, witnessNetworkPolicy(ctx), child);
    new k8s.apps.v1.StatefulSet(
      name,
      {
        metadata: metadata(ctx, COMPONENT, COMPONENT),
        spec: {
          serviceName: SERVICES.witness,
          replicas: 1,
          updateStrategy: { type: "RollingUpdate" },
          selector: { matchLabels: selector },
          template: witnessPodTemplate({
            context: ctx,
            settings,
            config: configText,
            configMap: config.metadata.name,
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

    this.url = pulumi.output(memberUrls(ctx.region, ctx.domain).client);
    this.urls = pulumi.output(
      Object.fromEntries(args.regions.map((region) => [region, memberUrls(region, ctx.domain).client])),
    );
    this.registerOutputs({ url: this.url, urls: this.urls });
  }
}

function checkRegions(ctx: RegionContext, regions: readonly string[]): void {
  const errors: { propertyPath: string; reason: string }[] = [];
  if (!regions.includes(ctx.region)) {
    errors.push({
      propertyPath: "regions",
      reason: `found ${regions.join(", ") || "none"}; must include this region, ${ctx.region}`,
    });
  }
  const twice = regions.filter((region, i) => regions.indexOf(region) !== i);
  if (twice.length > 0) errors.push({ propertyPath: "regions", reason: `names ${twice.join(", ")} twice` });
  if (errors.length > 0) throw new pulumi.InputPropertiesError({ message: "Witness has no place", errors });
}

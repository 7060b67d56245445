import * as k8s from "@pulumi/kubernetes";
import * as random from "@pulumi/random";
import { Region } from "../components/region.ts";
import { loadConfig } from "./load.ts";
import { peersOf } from "./topology.ts";

const { config, secrets, secretNames, certificatePems } = loadConfig();
const { cluster } = config;

// The region's own providers; default ones are disabled in Pulumi.yaml, so no object goes elsewhere by mistake.
const kubernetes = new k8s.Provider(config.region, {
  enableServerSideApply: true,
  // Processes take over changed files as they run; a replacement would pull them away from under the pods first.
  enableConfigMapMutable: true,
  enableSecretMutable: true,
  ...(cluster.context === undefined ? {} : { context: cluster.context }),
  ...(cluster.kubeconfig === undefined ? {} : { kubeconfig: cluster.kubeconfig }),
});

const region = new Region(
  config.region,
  {
    context: {
      region: config.region,
      clusterDomain: cluster.domain,
      domain: config.domain,
      storageClass: cluster.storageClass,
      multiNode: cluster.multiNode,
      standby: config.regions[config.region]!.role !== "active",
      protect: config.protect,
      wan: config.wan,
      images: config.images,
    },
    namespace: cluster.namespace,
    regions: config.regions,
    links: config.links,
    peers: peersOf(config.regions, config.region),
    certificates: config.certificates,
    certificatePems,
    secrets,
    secretNames,
    edge: config.edge,
    api: config.api,
    postgres: config.postgres,
    pooler: config.pooler,
    redis: config.redis,
    witness: config.witness,
    regionController: config.regionController,
    globalDns: config.globalDns,
  },
  { providers: [kubernetes, new random.Provider(config.region)] },
);

export const namespace = region.namespace;
export const url = region.url;
export const postgresHost = region.postgresHost;
export const redisHost = region.redisHost;

import { join } from "node:path";
import type { Instance } from "./instance.ts";
import { hostPorts, type HostPorts } from "./ports.ts";

/** Regions that can be run embedded. The index is part of every address, so it is never given to another region. */
const INDEX = { beijing: 1, shanghai: 2, shenzhen: 3 } as const;

export type RegionName = keyof typeof INDEX;

/** All regions, in the order of their index. */
export const regionNames = Object.keys(INDEX) as readonly RegionName[];

/** @throws RangeError naming the regions there are. */
export function parseRegion(text: string): RegionName {
  if (Object.hasOwn(INDEX, text)) return text as RegionName;
  throw new RangeError(
    `There is no region ${JSON.stringify(text)}: the embedded regions are ${regionNames.join(", ")}.`,
  );
}

/** Addresses of one region. They are the same in every instance: instances' networks never meet. */
export interface Addresses {
  /** The only node, on the network that joins the regions. */
  readonly node: string;
  readonly podCidr: string;
  readonly serviceCidr: string;
  /** First address of the service range: the Service `default/kubernetes`. */
  readonly apiService: string;
  /** Tenth address of the service range: the Service `kube-system/kube-dns`. */
  readonly dnsService: string;
  /** 53rd address of the service range: the Service `global-dns`, which the other regions find by it. */
  readonly globalDns: string;
}

/** Length of the prefix of the nodes' network. */
export const WAN_PREFIX = 24;
/** A region's end of the network between regions. */
export const WAN_LINK = "wan0";

export function addresses(region: RegionName): Addresses {
  const i = INDEX[region];
  return {
    node: `10.250.0.${10 + i}`,
    podCidr: `10.${10 + i}.0.0/16`,
    serviceCidr: `10.${110 + i}.0.0/16`,
    apiService: `10.${110 + i}.0.1`,
    dnsService: `10.${110 + i}.0.10`,
    globalDns: `10.${110 + i}.0.53`,
  };
}

/** A region's own cluster domain: one name then means one thing in every region. */
export function clusterDomain(region: RegionName): string {
  return `cluster.${region}`;
}

/** Everything about one region of one instance that follows from the two names. */
export interface RegionPlan extends Addresses {
  readonly instance: Instance;
  readonly region: RegionName;
  readonly domain: string;
  /** Name of the network namespace, as `ip netns` lists it. */
  readonly netns: string;
  readonly netnsPath: string;
  /** Path below the root of each cgroup hierarchy. */
  readonly cgroup: string;
  readonly ports: HostPorts;
  /** `<state>/<region>`. */
  readonly state: string;
  /** `<run>/<region>`. */
  readonly run: string;
  readonly pki: string;
  readonly conf: string;
  readonly logs: string;
  readonly volumes: string;
  readonly containerdSocket: string;
  /** Kubeconfig context. */
  readonly context: string;
}

export function planRegion(instance: Instance, region: RegionName): RegionPlan {
  const netns = `iam-ha-${instance.name}-${region}`;
  const state = join(instance.state, region);
  const run = join(instance.run, region);
  return {
    ...addresses(region),
    instance,
    region,
    domain: clusterDomain(region),
    netns,
    netnsPath: `/run/netns/${netns}`,
    cgroup: `/iam-ha-${instance.name}-${region}`,
    ports: hostPorts(instance, INDEX[region]),
    state,
    run,
    pki: join(state, "pki"),
    conf: join(state, "conf"),
    logs: join(state, "log"),
    volumes: join(state, "volumes"),
    containerdSocket: join(run, "containerd.sock"),
    context: contextName(region),
  };
}

export function contextName(region: RegionName): string {
  return `iam-ha-${region}`;
}

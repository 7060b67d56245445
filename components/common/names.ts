import type { CertificateName } from "./certificates.ts";
import type { RegionContext } from "./context.ts";

/** Names of the Services of a region. Plain constants and not outputs of the Services: a Service and the pods behind it
 *  may then come up in any order, and none waits for the other. */
export const SERVICES = {
  edge: "edge",
  api: "iam-api",
  postgresPrimary: "postgresql",
  postgresReplicas: "postgresql-replicas",
  postgresAny: "postgresql-any",
  postgresNodes: "postgresql-nodes",
  pooler: "pgbouncer",
  redis: "redis",
  redisNodes: "redis-nodes",
  witness: "witness",
  regionController: "region-controller",
  globalDns: "global-dns",
} as const;

/** The components of a region: the value of `app.kubernetes.io/name` (and `/component`) on the objects of each, which is
 *  what network policies select by. */
export const COMPONENTS = {
  edge: "edge",
  api: "iam-api",
  postgres: "postgresql",
  pooler: "pgbouncer",
  redis: "redis",
  redisKeeper: "redis-keeper",
  witness: "witness",
  regionController: "region-controller",
  globalDns: "global-dns",
  monitoring: "monitoring",
} as const;

/** Ports of the services of a region. */
export const PORTS = {
  postgres: 5432,
  patroni: 8008,
  pooler: 6432,
  redis: 6379,
  edgeHttp: 80,
  edgeHttps: 443,
  /** Edges of other regions, with requests that they pass on: HTTPS with client certificates. */
  edgePeer: 8444,
  /** etcd's clients and, between members, its peers. */
  witnessClient: 2379,
  witnessPeer: 2380,
  /** Region controllers among themselves, and the other parts of a region that ask who is active: HTTPS with client
   *  certificates. */
  regionController: 8443,
  dns: 53,
} as const;

/** What a region publishes under its own name: the design's three (§5.4.1), and what regions need of each other. */
export const ENDPOINTS = ["api", "postgresql", "redis", "witness", "region"] as const;
export type Endpoint = (typeof ENDPOINTS)[number];

/** `api-beijing.iam.example.com`: every cross-region address follows from this convention and needs no other stack. */
export function endpointName(endpoint: Endpoint, region: string, domain: string): string {
  return `${endpoint}-${region}.${domain}`;
}

/** The one name of the platform that follows the active region: `api.iam.example.com`. */
export function globalName(domain: string): string {
  return `api.${domain}`;
}

type Place = Pick<RegionContext, "region" | "domain" | "clusterDomain">;

/** The StatefulSet of the database. Its pods' names differ from region to region: a standby leader connects with its
 *  pod's name, and one that is also a name here would be taken for a synchronous standby of this region. */
export function postgresSetName(region: string): string {
  return `postgresql-${region}`;
}

/** The StatefulSet of the cache; region-specific for the same reason. */
export function redisSetName(region: string): string {
  return `redis-${region}`;
}

/** `iam-api-1`: the stable name of an API pod, ordinals from 1 as in §5.1.1. */
export function apiPodNames(replicas: number): string[] {
  return Array.from({ length: replicas }, (_, i) => `${SERVICES.api}-${i + 1}`);
}

/** Name of pod `ordinal` of a StatefulSet under its headless service, fully qualified. */
export function podHost(
  set: string,
  ordinal: number,
  service: string,
  namespace: string,
  clusterDomain: string,
): string {
  return `${set}-${ordinal}.${service}.${namespace}.svc.${clusterDomain}`;
}

/** Common name by which the API and other regions' edges know an edge. */
export const EDGE_CLIENT_NAME = "edge-client";

/** Which names each certificate must be good for; the first is the common name (64 characters at most). */
export function certificateDnsNames(place: Place, namespace: string): Record<CertificateName, string[]> {
  const service = (name: string) => [
    name,
    `${name}.${namespace}`,
    `${name}.${namespace}.svc`,
    `${name}.${namespace}.svc.${place.clusterDomain}`,
  ];
  const endpoint = (name: Endpoint) => endpointName(name, place.region, place.domain);
  const pods = (name: string) => `*.${name}.${namespace}.svc.${place.clusterDomain}`;
  return {
    edge: [place.domain, globalName(place.domain), endpoint("api")],
    // The first name is how the API and other edges know an edge; by the second one an edge knows which region it reached.
    "edge-client": [EDGE_CLIENT_NAME, endpoint("api")],
    api: [...service(SERVICES.api), ...apiPodNames(9), pods(SERVICES.api)],
    postgres: [
      ...service(SERVICES.postgresPrimary),
      ...service(SERVICES.postgresReplicas),
      ...service(SERVICES.postgresAny),
      pods(SERVICES.postgresNodes),
      endpoint("postgresql"),
      // pg_rewind and the pooler's local load balancer
      "localhost",
    ],
    pooler: service(SERVICES.pooler),
    redis: [...service(SERVICES.redis), pods(SERVICES.redisNodes), endpoint("redis"), "localhost"],
    witness: [endpoint("witness"), ...service(SERVICES.witness), pods(SERVICES.witness), "localhost"],
    // The first name is how region controllers know each other: what they show is held against it.
    region: [endpoint("region"), ...service(SERVICES.regionController), "localhost"],
    dns: service(SERVICES.globalDns),
  };
}

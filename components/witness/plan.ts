import type { RegionContext } from "../common/context.ts";
import { endpointName, PORTS } from "../common/names.ts";
import { CONTROLLER_PREFIX, CONTROLLER_USER, DNS_PREFIX, DNS_USER, type WitnessSettings } from "./settings.ts";

/** Plain port of etcd's metrics and of the probes; it listens inside of the pod only. Whoever scrapes from outside asks
 *  `/metrics` on the clients' port, with a certificate. */
export const METRICS_PORT = 2381;

/** Where things are inside the pod. */
export const PATHS = {
  /** ConfigMap: witness.json. */
  config: "/etc/witness",
  /** Secret: root, controller, dns. */
  secrets: "/etc/witness-secrets",
  /** Secret: tls.crt, tls.key, ca.crt. */
  tls: "/etc/witness-tls",
  /** In memory: the word to the probes. */
  run: "/run/witness",
  /** The volume. */
  data: "/var/lib/etcd",
} as const;

/** URLs of a region's member: for clients, and for its peers. */
export function memberUrls(region: string, domain: string): { client: string; peer: string } {
  const host = endpointName("witness", region, domain);
  return { client: `https://${host}:${PORTS.witnessClient}`, peer: `https://${host}:${PORTS.witnessPeer}` };
}

/** witness.json, as images/witness/witness-entrypoint reads it. */
export interface WitnessConfig {
  /** This region: the member's name. */
  readonly region: string;
  /** Every region's member, this one included. */
  readonly members: Readonly<Record<string, { client: string; peer: string }>>;
  /** initial-cluster-token. */
  readonly token: string;
  readonly mayFound: boolean;
  readonly tls: string;
  readonly secrets: string;
  readonly metricsPort: number;
  readonly callTimeoutSeconds: number;
  readonly pollSeconds: number;
  /** Each role, which the user of the same name has: the name of its password's file and what it may do to which keys. */
  readonly roles: Readonly<
    Record<string, { passwordFile: string; grants: readonly (readonly [Permission, string])[] }>
  >;
  /** Flags of etcd that follow from settings. */
  readonly etcd: readonly string[];
}
type Permission = "read" | "write" | "readwrite";

/** What each user may do; root may do everything. Nobody else has an account. */
export const ROLES: WitnessConfig["roles"] = {
  [CONTROLLER_USER]: {
    passwordFile: "controller",
    grants: [
      ["readwrite", CONTROLLER_PREFIX],
      ["readwrite", DNS_PREFIX],
    ],
  },
  [DNS_USER]: { passwordFile: "dns", grants: [["read", DNS_PREFIX]] },
};

/** The configuration of one member. */
export function witnessConfig(
  ctx: Pick<RegionContext, "region" | "domain">,
  settings: WitnessSettings,
  regions: readonly string[],
): WitnessConfig {
  return {
    region: ctx.region,
    members: Object.fromEntries(regions.map((region) => [region, memberUrls(region, ctx.domain)])),
    token: `iam-ha-${ctx.domain}`,
    mayFound: settings.mayFound,
    tls: PATHS.tls,
    secrets: PATHS.secrets,
    metricsPort: METRICS_PORT,
    callTimeoutSeconds: settings.callTimeoutSeconds,
    pollSeconds: settings.pollSeconds,
    roles: ROLES,
    etcd: etcdFlags(settings),
  };
}

/** etcd's flags that follow from settings. */
export function etcdFlags(settings: WitnessSettings): string[] {
  return [
    `--heartbeat-interval=${settings.heartbeatMillis}`,
    `--election-timeout=${settings.electionTimeoutMillis}`,
    `--quota-backend-bytes=${settings.quotaBytes}`,
    "--auto-compaction-mode=periodic",
    `--auto-compaction-retention=${settings.autoCompactionMinutes}m`,
    `--snapshot-count=${settings.snapshotCount}`,
    // Each login computes one hash, on a small pod and again on every member that is asked. The cost is for passwords that
    // people choose; these are at least 16 random characters.
    "--bcrypt-cost=4",
    // A start with unsound data must fail before it serves any of it.
    "--experimental-initial-corrupt-check=true",
    "--log-level=warn",
  ];
}

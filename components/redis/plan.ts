import type { RedisKeeperConfig } from "../../sidecar/core/redis-keeper-config.ts";
import { CURSOR_PREFIX, INVALIDATION_CHANNEL } from "../../sidecar/core/session-protocol.ts";
import { selectorOf, type RegionContext } from "../common/context.ts";
import { COMPONENTS, PORTS } from "../common/names.ts";
import { quantityBytes } from "../common/schema.ts";
import {
  APPLICATION_USER,
  KEEPER_USER,
  maxMemoryBytes,
  NODE_USER,
  SYNC_USER,
  type RedisSettings,
  type RedisUser,
} from "./settings.ts";

/** Port of the cluster's bus, on which nodes watch each other: by Redis' rule 10000 above the clients' port. */
export const BUS_PORT = PORTS.redis + 10_000;
/** Port of the keeper's /healthz and /status. */
export const KEEPER_STATUS_PORT = 8080;

/** Where things are inside a Redis pod. */
export const PATHS = {
  /** ConfigMap: redis.conf and users.acl. */
  config: "/etc/redis-config",
  /** ConfigMap: the scripts of scripts/. */
  scripts: "/etc/redis-scripts",
  /** Secret: one file per ACL user, its password. */
  secrets: "/etc/redis-secrets",
  /** Secret: tls.crt, tls.key, ca.crt. */
  tls: "/etc/redis-tls",
  /** In memory: the complete configuration with passwords. */
  run: "/run/redis",
  /** The node's volume: append-only file, nodes.conf. */
  data: "/var/lib/redis",
} as const;

/** The part of redis.conf that is the same for every node of a region and holds no secret. Each node adds its own
 *  address and the passwords at its start (scripts/lib.sh). */
export function redisConf(settings: RedisSettings, port: number): string {
  const memory = maxMemoryBytes(settings);
  return lines([
    "# Network: TLS alone; the plain port stays shut.",
    "bind * -::*",
    "port 0",
    `tls-port ${port}`,
    "tls-replication yes",
    "tls-cluster yes",
    `tls-cert-file ${PATHS.tls}/tls.crt`,
    `tls-key-file ${PATHS.tls}/tls.key`,
    `tls-ca-cert-file ${PATHS.tls}/ca.crt`,
    `tls-auth-clients ${settings.clientCertificates === "required" ? "yes" : "optional"}`,
    'tls-protocols "TLSv1.2 TLSv1.3"',
    "tcp-keepalive 60",
    `maxclients ${settings.maxClients}`,
    "",
    "# Cluster (§5.3.1). Nodes are announced by name: certificates hold for names, and names outlive addresses.",
    "cluster-enabled yes",
    `cluster-config-file ${PATHS.data}/nodes.conf`,
    `cluster-node-timeout ${settings.nodeTimeoutMillis}`,
    "cluster-preferred-endpoint-type hostname",
    `cluster-require-full-coverage ${yesNo(settings.requireFullCoverage)}`,
    "# Which replica belongs to which master is the keeper's to decide: it knows on which machines they run.",
    "cluster-allow-replica-migration no",
    `cluster-replica-validity-factor ${settings.replicaValidityFactor}`,
    "",
    "# Durability: the append-only file alone.",
    `dir ${PATHS.data}`,
    "appendonly yes",
    `appendfsync ${settings.appendFsync}`,
    'save ""',
    "",
    "# Replication",
    "repl-diskless-sync yes",
    "# One replica a master is the rule: waiting for more to arrive would only delay it.",
    "repl-diskless-sync-delay 0",
    `repl-backlog-size ${backlogBytes(settings)}`,
    `min-replicas-to-write ${settings.minReplicasToWrite}`,
    `min-replicas-max-lag ${settings.minReplicasMaxLagSeconds}`,
    "",
    "# Memory",
    `maxmemory ${memory}`,
    `maxmemory-policy ${settings.evictionPolicy}`,
    "# Freed in the background, so that a big key's end delays nobody.",
    "lazyfree-lazy-eviction yes",
    "lazyfree-lazy-expire yes",
    "lazyfree-lazy-server-del yes",
    "",
    "# Observation",
    `slowlog-log-slower-than ${settings.slowLogThresholdMicros}`,
    "slowlog-max-len 256",
    `latency-monitor-threshold ${settings.latencyThresholdMillis}`,
    'logfile ""',
  ]);
}

/** What the scripts of a pod need to know, but for what only the pod knows: its own address and name. */
export function scriptEnvironment(settings: RedisSettings, port: number): Record<string, string> {
  return {
    CONFIG_DIR: PATHS.config,
    SECRETS_DIR: PATHS.secrets,
    TLS_DIR: PATHS.tls,
    RUN_DIR: PATHS.run,
    REDIS_PORT: String(port),
    HANDOVER_SECONDS: String(settings.handoverTimeoutSeconds),
  };
}

/** Data written while a replica restarts, so that it goes on where it was: 1/64 of the memory, 1 to 64 MiB. */
export function backlogBytes(settings: Pick<RedisSettings, "resources">): number {
  const mib = 1024 ** 2;
  return Math.min(64 * mib, Math.max(mib, Math.floor(quantityBytes(settings.resources.memory) / 64)));
}

type Prefixes = Pick<RedisSettings, "regions">;

/** What each ACL user may do. The application has no command that an operator needs and an application does not: none of
 *  Redis' categories `admin` and `dangerous` (FLUSHALL, KEYS, CONFIG, DEBUG, SHUTDOWN, REPLICAOF, CLUSTER MEET, …), but
 *  INFO, which clients read to know whether a node has loaded its data. The user of the copying between regions reads and
 *  writes sessions; entries of caches it may drop and not read. */
export function aclRules({ regions }: Prefixes): Record<RedisUser, string> {
  const keys = [
    ...[...regions.copy, CURSOR_PREFIX].map((prefix) => `%RW~${prefix}*`),
    ...regions.invalidate.map((prefix) => `%W~${prefix}*`),
  ].join(" ");
  return {
    [APPLICATION_USER]: "~* &* +@all -@admin -@dangerous +info",
    [KEEPER_USER]:
      "resetkeys resetchannels -@all +ping +info +cluster|info +cluster|nodes +cluster|meet +cluster|forget +cluster|replicate +cluster|addslotsrange +cluster|failover +cluster|bumpepoch +client|setinfo +client|setname",
    [NODE_USER]:
      "resetkeys resetchannels -@all +psync +replconf +ping +info +role +cluster|info +cluster|nodes +cluster|failover +config|set +acl|load",
    [SYNC_USER]: `resetkeys resetchannels -@all ${keys} &${INVALIDATION_CHANNEL} +ping +info +client|id +client|tracking +subscribe +cluster|nodes +cluster|getkeysinslot +memory|usage +dump +pexpiretime +restore +unlink +type +get +set +hgetall +smembers +zrange +lrange`,
  };
}

/** The ACL file without the passwords: `scripts/lib.sh` puts the hash of each user's password after its name. */
export function usersAcl(settings: Prefixes): string {
  return lines(Object.entries(aclRules(settings)).map(([user, rules]) => `user ${user} on ${rules}`));
}

/** Where things are inside the keeper's pod. */
export const KEEPER_PATHS = {
  config: "/etc/redis-keeper",
  secrets: "/etc/redis-keeper-secrets",
  tls: "/etc/redis-keeper-tls",
} as const;

/** The keeper's configuration file. */
export function keeperConfig(
  ctx: RegionContext,
  settings: RedisSettings,
  hosts: readonly string[],
  namespace: string,
): RedisKeeperConfig {
  const labels = Object.entries(selectorOf(ctx, COMPONENTS.redis));
  return {
    region: ctx.region,
    nodes: hosts.map((host) => ({ name: host, host, port: PORTS.redis })),
    masters: settings.masters,
    user: KEEPER_USER,
    passwordFile: `${KEEPER_PATHS.secrets}/${KEEPER_USER}`,
    tls: {
      caFile: `${KEEPER_PATHS.tls}/ca.crt`,
      certFile: `${KEEPER_PATHS.tls}/tls.crt`,
      keyFile: `${KEEPER_PATHS.tls}/tls.key`,
    },
    intervalMillis: settings.keeper.intervalMillis,
    callTimeoutMillis: settings.keeper.callTimeoutMillis,
    settleMillis: settings.keeper.settleSeconds * 1000,
    placement: ctx.multiNode
      ? { source: "kubernetes", namespace, labelSelector: labels.map(([key, value]) => `${key}=${value}`).join(",") }
      : { source: "none" },
    statusPort: KEEPER_STATUS_PORT,
  };
}

function yesNo(value: boolean): string {
  return value ? "yes" : "no";
}

function lines(all: string[]): string {
  return `${all.join("\n")}\n`;
}

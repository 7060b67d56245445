import { z } from "zod";
import { CURSOR_PREFIX } from "../../sidecar/core/session-protocol.ts";
import { byteQuantity, quantityBytes, resources } from "../common/schema.ts";

/** ACL user of the application: its own keys and channels, no administration. Its password is the region's `redis`. */
export const APPLICATION_USER = "iam";
/** ACL user of the keeper: cluster administration, and not one key. */
export const KEEPER_USER = "keeper";
/** ACL user of the pods among themselves: replication, probes, the hand-over before a stop, reloads. */
export const NODE_USER = "node";
/** ACL user of the region controller: copies sessions between regions, and touches no other key. */
export const SYNC_USER = "sync";
export const REDIS_USERS = [APPLICATION_USER, KEEPER_USER, NODE_USER, SYNC_USER] as const;
export type RedisUser = (typeof REDIS_USERS)[number];

const keeper = z.strictObject({
  intervalMillis: z
    .int()
    .min(200)
    .max(60_000)
    .default(2000)
    .describe("pause between two looks at all nodes, in milliseconds"),
  callTimeoutMillis: z
    .int()
    .min(100)
    .max(30_000)
    .default(1000)
    .describe("time-out of one command to one node, and of connecting, in milliseconds"),
  settleSeconds: z
    .int()
    .min(1)
    .max(3600)
    .default(30)
    .describe(
      "seconds without any change before placement is improved (replicas swapped, masters spread); repairs never wait",
    ),
  resources: resources
    .prefault({ cpu: "50m", cpuLimit: "500m", memory: "128Mi" })
    .describe("compute resources of the keeper's pod"),
});

/** The beginning of keys' names. Without what means something in the patterns of Redis' ACL or in the file that they
 *  stand in. */
const keyPrefix = z
  .string()
  .max(100)
  .regex(/^[A-Za-z0-9_:.{}/@-]+$/, "must be letters, digits and any of _ : . { } / @ -, and not empty");

const regions = z
  .strictObject({
    copy: z
      .array(keyPrefix)
      .max(32)
      .default(["session:", "user_session:", "server_sessions:"])
      .describe("prefixes of keys whose values reach the other regions (§5.1.3: sessions and their indexes)"),
    invalidate: z
      .array(keyPrefix)
      .max(32)
      .default(["cache:"])
      .describe("prefixes of keys that are dropped in the other regions when they change; their values never leave"),
  })
  .superRefine(({ copy, invalidate }, ctx) => {
    const all = [
      ...copy.map((prefix, i) => ({ path: ["copy", i], prefix })),
      ...invalidate.map((prefix, i) => ({ path: ["invalidate", i], prefix })),
    ];
    all.forEach(({ path, prefix }, i) => {
      const others = [CURSOR_PREFIX, ...all.slice(0, i).map((earlier) => earlier.prefix)];
      const twin = others.find((other) => other.startsWith(prefix) || prefix.startsWith(other));
      if (twin === undefined) return;
      const whose = twin === CURSOR_PREFIX ? ", which holds how far the copying is" : "";
      ctx.addIssue({
        code: "custom",
        path,
        input: prefix,
        message: `overlaps with ${JSON.stringify(twin)}${whose}: no prefix may begin with another one`,
      });
    });
  });

export const redisSettings = z
  .strictObject({
    masters: z
      .int()
      .min(3)
      .max(16)
      .default(3)
      .describe(
        "masters, each with its share of the 16384 slots (§5.3.1: 3). At least 3: fewer have no majority to fail over with. Fixed once the cluster is formed",
      ),
    replicasPerMaster: z
      .int()
      .min(0)
      .max(4)
      .default(1)
      .describe(
        "replicas of each master (§5.3.1: 1). 0: while a master is away its keys are too, and with its volume they are lost",
      ),
    nodeTimeoutMillis: z
      .int()
      .min(1000)
      .max(60_000)
      .default(5000)
      .describe(
        "cluster-node-timeout in milliseconds (§5.3.1: 5000): a master silent for so long is replaced, 1 to 2 s later its replica serves",
      ),
    storage: byteQuantity
      .default("8Gi")
      .describe("volume of each node; rewriting the append-only file takes twice the data for a moment"),
    resources: resources
      .prefault({ cpu: "250m", cpuLimit: "2", memory: "2Gi" })
      .describe("compute resources of each node"),
    maxMemoryPercent: z
      .int()
      .min(10)
      .max(80)
      .default(50)
      .describe(
        "maxmemory in percent of the container's memory. The rest is for connection buffers, the replication backlog and the pages copied while the append-only file is rewritten",
      ),
    evictionPolicy: z
      .enum(["noeviction", "volatile-ttl", "volatile-lru", "volatile-lfu", "allkeys-lru", "allkeys-lfu"])
      .default("noeviction")
      .describe(
        "maxmemory-policy. noeviction: a full node refuses writes, which is seen at once; every other policy logs people out silently, as sessions and cached entries alike have a time to live",
      ),
    appendFsync: z
      .enum(["everysec", "always"])
      .default("everysec")
      .describe("appendfsync: how much an operating system's crash may lose, up to 1 s or nothing"),
    maxClients: z
      .int()
      .min(50)
      .max(60_000)
      .default(2000)
      .describe("maxclients: connections to one node; §5.3.4 alarms from 100"),
    requireFullCoverage: z
      .boolean()
      .default(false)
      .describe(
        "cluster-require-full-coverage. false: when a master and all its replicas are lost, the other shards go on and only the lost keys answer CLUSTERDOWN",
      ),
    minReplicasToWrite: z
      .int()
      .min(0)
      .max(4)
      .default(0)
      .describe(
        "min-replicas-to-write. 0: a master accepts writes while its only replica restarts; 1: it refuses them until that is back",
      ),
    minReplicasMaxLagSeconds: z
      .int()
      .min(1)
      .max(60)
      .default(10)
      .describe("min-replicas-max-lag in seconds: how old a replica's last word may be for it to count"),
    replicaValidityFactor: z
      .int()
      .min(0)
      .max(100)
      .default(0)
      .describe(
        "cluster-replica-validity-factor. 0: a replica takes over however old its copy is, as an old session is better than a lost shard; otherwise not after about this many node time-outs without its master",
      ),
    clientCertificates: z
      .enum(["optional", "required"])
      .default("optional")
      .describe(
        "tls-auth-clients. Clients always prove who they are by user and password; required: by a certificate of the internal CA too. Between nodes certificates are always required",
      ),
    slowLogThresholdMicros: z
      .int()
      .min(100)
      .default(10_000)
      .describe("slowlog-log-slower-than in microseconds (§5.3.4: responses over 10 ms are an alarm)"),
    latencyThresholdMillis: z
      .int()
      .min(1)
      .default(10)
      .describe("latency-monitor-threshold in milliseconds (§5.3.4: 10)"),
    handoverTimeoutSeconds: z
      .int()
      .min(1)
      .max(60)
      .default(10)
      .describe("how long a master that is told to stop waits for its replica to take over, in seconds"),
    terminationGraceSeconds: z
      .int()
      .min(10)
      .max(600)
      .default(60)
      .describe("seconds between the order to stop and the kill: hand-over, last write to the append-only file"),
    probePeriodSeconds: z
      .int()
      .min(1)
      .max(60)
      .default(5)
      .describe("seconds between two readiness probes; liveness is probed a third as often"),
    regions: regions.prefault({}).describe("which keys concern the other regions (§5.4.2)"),
    keeper: keeper
      .prefault({})
      .describe("the keeper, which forms the cluster and joins restarted and replaced nodes again"),
  })
  .superRefine((settings, ctx) => {
    const issue = (path: PropertyKey[], message: string, input: unknown) =>
      ctx.addIssue({ code: "custom", path, message, input });
    if (quantityBytes(settings.resources.memory) < quantityBytes("64Mi")) {
      issue(
        ["resources", "memory"],
        "must be at least 64Mi: an empty node with its backlog and TLS takes about 20Mi",
        settings.resources.memory,
      );
    }
    if (quantityBytes(settings.storage) < 3 * maxMemoryBytes(settings)) {
      issue(
        ["storage"],
        `must be at least three times maxmemory (${maxMemoryBytes(settings)} bytes by resources.memory and maxMemoryPercent): the append-only file, up to twice the data, and its rewrite`,
        settings.storage,
      );
    }
    if (settings.minReplicasToWrite > settings.replicasPerMaster) {
      issue(
        ["minReplicasToWrite"],
        `must not be over replicasPerMaster (${settings.replicasPerMaster}): no write would ever be accepted`,
        settings.minReplicasToWrite,
      );
    }
    if (settings.terminationGraceSeconds < settings.handoverTimeoutSeconds + 5) {
      issue(
        ["terminationGraceSeconds"],
        `must be at least handoverTimeoutSeconds + 5 (${settings.handoverTimeoutSeconds + 5}), or a node is killed while it hands over`,
        settings.terminationGraceSeconds,
      );
    }
  })
  .describe("the Redis Cluster of the region (§5.3.1)");
export type RedisSettings = z.infer<typeof redisSettings>;

type Sizing = Pick<RedisSettings, "resources" | "maxMemoryPercent">;

/** `maxmemory` of one node in bytes. */
export function maxMemoryBytes(settings: Sizing): number {
  return Math.floor((quantityBytes(settings.resources.memory) * settings.maxMemoryPercent) / 100);
}

/** How many nodes (pods) the cluster has. */
export function nodeCount(settings: Pick<RedisSettings, "masters" | "replicasPerMaster">): number {
  return settings.masters * (1 + settings.replicasPerMaster);
}

import { z } from "zod";
import { byteQuantity, cidr, quantityBytes, resources } from "../common/schema.ts";
import { extraParameters, parameterBytes, postgresMemory, postgresParameters } from "./parameters.ts";

/** Database roles that are not the application's. */
export const ROLES = {
  superuser: "postgres",
  replication: "replicator",
  rewind: "rewind",
  monitor: "monitor",
} as const;

const identifier = z
  .string()
  .regex(/^[a-z_][a-z0-9_]{0,62}$/, "must be an SQL name: lower-case letters, digits and '_', 63 at most");
const slotName = z
  .string()
  .regex(/^[a-z0-9_]{1,63}$/, "must be the name of a replication slot: lower-case letters, digits and '_', 63 at most");

const patroni = z
  .strictObject({
    ttlSeconds: z
      .int()
      .min(20)
      .max(300)
      .default(20)
      .describe("how long the leader's key lives without renewal; Patroni takes no less than 20"),
    loopWaitSeconds: z.int().min(1).max(60).default(2).describe("time between two rounds of Patroni"),
    retryTimeoutSeconds: z
      .int()
      .min(3)
      .max(60)
      .default(3)
      .describe("how long a request to the Kubernetes API is tried; Patroni takes no less than 3"),
    primaryStartTimeoutSeconds: z
      .int()
      .min(0)
      .max(3600)
      .default(0)
      .describe(
        "how long a crashed primary may take to recover before another takes over; 0: another takes over at once",
      ),
    primaryStopTimeoutSeconds: z
      .int()
      .min(0)
      .max(600)
      .default(20)
      .describe("how long a primary that is demoted may take to stop before it is killed; 0: no limit"),
    maximumLagOnFailoverBytes: z
      .int()
      .min(0)
      .default(1_048_576)
      .describe("a replica further behind does not become primary"),
    memberSlotsTtlSeconds: z
      .int()
      .min(0)
      .default(1800)
      .describe("how long WAL is kept for a replica whose pod is away; its slot goes after that; 0: at once"),
    failsafeMode: z
      .boolean()
      .default(true)
      .describe("the primary goes on while the Kubernetes API is away, as long as all replicas answer it"),
    logLevel: z.enum(["DEBUG", "INFO", "WARNING", "ERROR"]).default("INFO").describe("what Patroni logs"),
  })
  .superRefine((p, ctx) => {
    if (p.loopWaitSeconds + 2 * p.retryTimeoutSeconds > p.ttlSeconds) {
      ctx.addIssue({
        code: "custom",
        path: ["ttlSeconds"],
        input: p.ttlSeconds,
        message: `must be at least loopWaitSeconds + 2 * retryTimeoutSeconds = ${p.loopWaitSeconds + 2 * p.retryTimeoutSeconds}`,
      });
    }
  })
  .describe("Patroni's timings and limits");

const synchronous = z
  .strictObject({
    mode: z
      .enum(["quorum", "priority", "off"])
      .default("quorum")
      .describe("which replicas a commit waits for: any `nodeCount` of them, named ones, or none"),
    nodeCount: z
      .int()
      .min(1)
      .max(8)
      .default(1)
      .describe("how many replicas must have a commit's WAL on disk before it is acknowledged"),
    strict: z
      .boolean()
      .default(false)
      .describe("refuse writes when no replica is left, instead of going on alone (nobody else can take over then)"),
  })
  .describe("synchronous replication inside the region");

const reconciler = z
  .strictObject({
    intervalSeconds: z.int().min(1).max(300).default(5).describe("time between two looks at the desired state"),
    restarts: z
      .enum(["rolling", "manual"])
      .default("rolling")
      .describe("parameters that need a restart: replicas one by one, then the primary; or when someone says so"),
    rebuildAfterSeconds: z
      .int()
      .min(5)
      .max(86_400)
      .default(30)
      .describe(
        "how long a standby must have been without its stream, its source no longer having the WAL that it needs, before it is copied anew",
      ),
    resources: resources
      .prefault({ cpu: "10m", cpuLimit: "500m", memory: "64Mi" })
      .describe("resources of the container"),
  })
  .describe("the container that brings changed settings, passwords and certificates to the running cluster");

export const postgresSettings = z
  .strictObject({
    replicas: z
      .int()
      .min(1)
      .max(9)
      .default(4)
      .describe("pods: one is the primary, all others are its replicas, §5.2.1"),
    storageSize: byteQuantity
      .default("50Gi")
      .describe("volume of each pod; it can grow later, if its storage class can"),
    sharedMemory: byteQuantity
      .default("256Mi")
      .describe("/dev/shm, for parallel queries; part of the container's memory"),
    resources: resources
      .prefault({ cpu: "1", cpuLimit: "4", memory: "2Gi" })
      .describe("resources of PostgreSQL with Patroni"),
    application: z
      .strictObject({
        user: identifier.default("iam_app").describe("role of the application; owns the database"),
        database: identifier.default("iam").describe("database of the application"),
      })
      .prefault({})
      .describe("who uses the cluster"),
    patroni: patroni.prefault({}),
    synchronous: synchronous.prefault({}),
    slots: z
      .array(slotName)
      .default(["iam_replica_slot"])
      .describe("permanent replication slots besides those of the other regions, which are named after them"),
    maxReplicaLagBytes: z
      .int()
      .min(1_048_576)
      .default(16_777_216)
      .describe("a replica that is further behind leaves the read service; Patroni's view is as old as its last round"),
    parameters: postgresParameters.prefault({}),
    extraParameters,
    clientNetworks: z
      .array(cidr)
      .min(1)
      .default(["0.0.0.0/0", "::/0"])
      .describe("networks from which pg_hba.conf lets clients log in (with TLS and password)"),
    terminationGraceSeconds: z.int().min(10).max(3600).default(60).describe("time a pod gets to hand over and stop"),
    reconciler: reconciler.prefault({}),
  })
  .superRefine((s, ctx) => {
    const issue = (path: (string | number)[], input: unknown, message: string) =>
      ctx.addIssue({ code: "custom", path, input, message });
    const { parameters: p } = s;
    if (s.synchronous.mode !== "off" && s.synchronous.nodeCount > s.replicas - 1) {
      issue(
        ["synchronous", "nodeCount"],
        s.synchronous.nodeCount,
        `must be at most the number of replicas (${s.replicas - 1}), or synchronous.mode off`,
      );
    }
    const reserved: string[] = Object.values(ROLES);
    if (reserved.includes(s.application.user)) {
      issue(["application", "user"], s.application.user, `must not be one of ${reserved.join(", ")}`);
    }
    if (["postgres", "template0", "template1"].includes(s.application.database)) {
      issue(["application", "database"], s.application.database, "must not be a database of PostgreSQL itself");
    }
    if (new Set(s.slots).size !== s.slots.length) issue(["slots"], s.slots, "must not name a slot twice");
    // Streaming needs a sender each, and a base backup two for as long as it lasts.
    if (p.max_wal_senders < s.replicas + 1) {
      issue(
        ["parameters", "max_wal_senders"],
        p.max_wal_senders,
        `must be at least ${s.replicas + 1} for ${s.replicas} pods`,
      );
    }
    const slots = s.replicas - 1 + s.slots.length;
    if (p.max_replication_slots < slots) {
      issue(
        ["parameters", "max_replication_slots"],
        p.max_replication_slots,
        `must be at least ${slots}: one a replica, and \`slots\``,
      );
    }
    if (p.superuser_reserved_connections + RESERVED_CONNECTIONS >= p.max_connections) {
      issue(["parameters", "max_connections"], p.max_connections, "leaves no connection for the application");
    }
    // Sizes that are not well-formed have their own issue already, and are left out here.
    const sizes = {
      buffers: sizeOf(p.shared_buffers),
      shm: sizeOf(s.sharedMemory),
      memory: sizeOf(s.resources.memory),
      disk: sizeOf(s.storageSize),
      wal: sizeOf(p.max_slot_wal_keep_size) + sizeOf(p.max_wal_size) + sizeOf(p.wal_keep_size),
    };
    // PostgreSQL touches more than this at run time (backends, work_mem); half of the memory must be left for that.
    if (sizes.buffers + sizes.shm > sizes.memory / 2) {
      issue(
        ["resources", "memory"],
        s.resources.memory,
        "must be at least twice parameters.shared_buffers and sharedMemory together",
      );
    }
    if (sizes.wal > sizes.disk / 2) {
      issue(
        ["storageSize"],
        s.storageSize,
        "must be at least twice parameters.max_slot_wal_keep_size, max_wal_size and wal_keep_size together",
      );
    }
    if (sizeOf(p.min_wal_size) > sizeOf(p.max_wal_size)) {
      issue(["parameters", "min_wal_size"], p.min_wal_size, "must not be more than max_wal_size");
    }
    if (s.terminationGraceSeconds < s.patroni.primaryStopTimeoutSeconds + 10) {
      issue(
        ["terminationGraceSeconds"],
        s.terminationGraceSeconds,
        "must be at least 10 more than patroni.primaryStopTimeoutSeconds, so that a pod is not killed while it hands over",
      );
    }
  })
  .describe("the PostgreSQL cluster of the region");
export type PostgresSettings = z.infer<typeof postgresSettings>;

/** Bytes of a size in Kubernetes' or PostgreSQL's notation; NaN, which no comparison is true for, when it is neither. */
function sizeOf(text: string): number {
  if (byteQuantity.safeParse(text).success) return quantityBytes(text);
  return postgresMemory.safeParse(text).success ? parameterBytes(text) : NaN;
}

/** Connections that are not the application's: Patroni (its loop, its REST API, slots) 4, the reconciler 1, pg_rewind
 *  of returning replicas 2, monitoring 3. Replication connections are counted by max_wal_senders and not here. */
export const RESERVED_CONNECTIONS = 10;

/** How many connections to one server the application's pools may open together. */
export function usableConnections(settings: PostgresSettings): number {
  const { max_connections, superuser_reserved_connections } = settings.parameters;
  return max_connections - superuser_reserved_connections - RESERVED_CONNECTIONS;
}

/** Name of the replication slot that is kept for another region; slots know no hyphens. */
export function slotOfRegion(region: string): string {
  return region.replaceAll("-", "_");
}

import { z } from "zod";

const UNITS: Record<string, number> = { B: 1, kB: 1024, MB: 1024 ** 2, GB: 1024 ** 3, TB: 1024 ** 4 };

/** A size in PostgreSQL's notation. */
export const postgresMemory = z
  .string()
  .regex(/^[1-9][0-9]*(kB|MB|GB|TB)$/, 'must be a size as PostgreSQL writes it, such as "256MB"');
const memory = postgresMemory;
const duration = z.string().regex(/^[0-9]+(us|ms|s|min|h|d)$/, 'must be a time as PostgreSQL writes it, such as "30s"');
const onOff = z.enum(["on", "off"]);

/** How many bytes a size in PostgreSQL's notation is, such as "256MB".
 *  @throws RangeError for anything else */
export function parameterBytes(text: string): number {
  const match = /^([0-9]+)(B|kB|MB|GB|TB)$/.exec(text);
  if (!match) throw new RangeError(`not a size as PostgreSQL writes it: ${text}`);
  return Number(match[1]) * UNITS[match[2]!]!;
}

/** Parameters that Patroni, or this component, must set itself: in `extraParameters` they would be ignored, or break
 *  what depends on them. */
export const RESERVED_PARAMETERS: Readonly<Record<string, string>> = {
  listen_addresses: "Patroni sets it",
  port: "Patroni sets it",
  cluster_name: "Patroni sets it",
  data_directory: "Patroni sets it",
  hba_file: "Patroni writes the file",
  ident_file: "Patroni writes the file",
  config_file: "Patroni writes the file",
  primary_conninfo: "Patroni sets it",
  primary_slot_name: "Patroni sets it",
  synchronous_standby_names: "Patroni sets it from `synchronous`",
  recovery_target_timeline: "Patroni sets it",
  unix_socket_directories: "the pod's containers share that folder",
  logging_collector: "a container logs to its standard error, which the kubelet collects and rotates",
  log_destination: "a container logs to its standard error, which the kubelet collects and rotates",
  password_encryption: "the roles' passwords are kept as SCRAM-SHA-256 verifiers",
  ssl: "connections are always encrypted",
  ssl_cert_file: "the certificate's Secret is mounted there",
  ssl_key_file: "the certificate's Secret is mounted there",
  ssl_min_protocol_version: "connections are TLS 1.3",
  // Run-time gates of whoever moves the active region; a value here would fight with them.
  default_transaction_read_only: "it is a gate that is opened and closed at run time; a replica is read-only by itself",
  transaction_read_only: "it belongs to a session",
};

/** PostgreSQL's own parameters, under their own names and in their own units. Those marked "restart" are applied by a
 *  rolling restart (see `reconciler.restarts`), all others by a reload.
 *
 *  The base figures are those of the platform's design, §5.2.1. Of its log settings `log_destination = stderr` holds and
 *  is fixed; the collector with its files, their names and their rotation does not: in a container, the kubelet collects
 *  standard error and rotates it, and a second log on the data volume could fill it. `default_transaction_read_only` for
 *  replicas is not set, as a server in recovery refuses writes whatever it says. */
export const postgresParameters = z
  .strictObject({
    wal_level: z.enum(["replica", "logical"]).default("replica").describe("what the WAL holds; restart"),
    max_wal_senders: z.int().min(3).max(1000).default(10).describe("replication connections at most; restart"),
    max_replication_slots: z.int().min(4).max(1000).default(10).describe("replication slots at most; restart"),
    hot_standby: z.literal("on").default("on").describe("replicas serve reads; Patroni needs it on"),
    hot_standby_feedback: onOff
      .default("on")
      .describe("replicas keep the primary from removing rows their queries see"),
    max_standby_archive_delay: duration.default("30s").describe("how long a query may hold up replay from the archive"),
    max_standby_streaming_delay: duration.default("30s").describe("how long a query may hold up streamed replay"),
    wal_receiver_status_interval: duration.default("10s").describe("how often a replica reports at least"),
    wal_retrieve_retry_interval: duration
      .default("500ms")
      .describe("how soon a replica tries again to stream; PostgreSQL's 5s holds up replication after each switchover"),
    wal_log_hints: z.literal("on").default("on").describe("pg_rewind needs it (or data checksums, which are on too)"),
    wal_keep_size: memory.default("512MB").describe("WAL kept for replicas that have no slot"),
    max_slot_wal_keep_size: memory
      .default("10GB")
      .describe(
        "WAL kept at most for a slot whose reader is away; after that the slot is lost, not the primary's disk",
      ),
    max_wal_size: memory.default("2GB").describe("WAL between two checkpoints, about"),
    min_wal_size: memory.default("256MB").describe("WAL files kept for reuse"),
    checkpoint_timeout: duration.default("5min").describe("time between two checkpoints at most"),
    checkpoint_completion_target: z
      .number()
      .min(0)
      .max(1)
      .default(0.9)
      .describe("share of that time to spread writes over"),
    wal_buffers: memory.default("16MB").describe("shared memory for WAL that is not yet written; restart"),
    synchronous_commit: z
      .enum(["on", "remote_apply"])
      .default("on")
      .describe("what a commit waits for; `remote_apply` makes it visible on the synchronous replicas too"),
    max_connections: z.int().min(25).max(10000).default(200).describe("connections at most; restart"),
    superuser_reserved_connections: z.int().min(3).max(50).default(3).describe("of these, for superusers; restart"),
    max_locks_per_transaction: z
      .int()
      .min(32)
      .max(10000)
      .default(64)
      .describe("locks a transaction, on average; restart"),
    max_prepared_transactions: z.int().min(0).max(10000).default(0).describe("two-phase transactions at most; restart"),
    max_worker_processes: z.int().min(2).max(1000).default(8).describe("background processes at most; restart"),
    max_parallel_workers: z.int().min(0).max(1000).default(8).describe("of these, for parallel queries"),
    max_parallel_workers_per_gather: z.int().min(0).max(1000).default(2).describe("of these, for one query"),
    autovacuum_max_workers: z.int().min(1).max(100).default(3).describe("autovacuum processes at most; restart"),
    shared_buffers: memory.default("256MB").describe("shared memory for data pages; restart"),
    huge_pages: z
      .enum(["on", "off", "try"])
      .default("off")
      .describe(
        "a pod must ask for huge pages in its resources to get any; `try` crashes where the node has some; restart",
      ),
    effective_cache_size: memory.default("1GB").describe("what the planner takes for cache, the system's included"),
    work_mem: memory.default("4MB").describe("memory of one sort or hash, of which a query may have several"),
    maintenance_work_mem: memory.default("64MB").describe("memory of one VACUUM or CREATE INDEX"),
    default_statistics_target: z.int().min(1).max(10000).default(100).describe("detail of the planner's statistics"),
    random_page_cost: z.number().min(0).max(100).default(1.1).describe("price of a random page; low for SSDs"),
    effective_io_concurrency: z
      .int()
      .min(0)
      .max(1000)
      .default(200)
      .describe("reads in flight that the disk takes well"),
    idle_in_transaction_session_timeout: duration
      .default("5min")
      .describe("ends sessions that hold locks and do nothing"),
    log_connections: onOff.default("on").describe("a line for each connection: few, as the pooler keeps them open"),
    log_disconnections: onOff.default("off").describe("a line for each connection's end"),
    log_checkpoints: onOff.default("on").describe("a line for each checkpoint"),
    log_lock_waits: onOff.default("on").describe("a line for each wait for a lock longer than deadlock_timeout"),
    log_min_duration_statement: duration
      .default("1s")
      .describe("statements that take longer are logged, without the values bound to them"),
    log_autovacuum_min_duration: duration.default("10s").describe("autovacuum runs that take longer are logged"),
    log_statement: z.enum(["none", "ddl", "mod", "all"]).default("ddl").describe("which statements are always logged"),
  })
  .describe("PostgreSQL's parameters, under their own names and in their own units");
export type PostgresParameters = z.infer<typeof postgresParameters>;

/** Parameters that are not among the typed ones. Only names are checked here; PostgreSQL checks the values. */
export const extraParameters = z
  .record(
    z
      .string()
      .regex(/^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)?$/, "must be the name of a PostgreSQL parameter, in lower case"),
    z.union([z.string(), z.number()]),
  )
  .superRefine((parameters, ctx) => {
    for (const name of Object.keys(parameters)) {
      const reason = RESERVED_PARAMETERS[name];
      if (reason) ctx.addIssue({ code: "custom", path: [name], message: `cannot be set: ${reason}` });
      else if (name in postgresParameters.shape) {
        ctx.addIssue({
          code: "custom",
          path: [name],
          message: `belongs into \`parameters\`, where its value is checked`,
        });
      }
    }
  })
  .default({})
  .describe("further parameters of PostgreSQL, by name");

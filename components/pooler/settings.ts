import { z } from "zod";
import { resources } from "../common/schema.ts";

const millis = (min: number, max = 3_600_000) => z.int().min(min).max(max);

/** The limits of one pool, in the terms of §5.2.3, and what PgBouncer does with each. */
const poolFields = {
  max: z
    .int()
    .min(1)
    .max(100)
    .describe("most server connections of the pool, in each pooler pod: PgBouncer's pool_size and max_db_connections"),
  min: z
    .int()
    .min(1)
    .describe(
      "server connections that are kept open even with no client: min_pool_size. An idle connection is never closed below it",
    ),
  acquireTimeoutMillis: millis(1000).describe(
    "how long a client's query waits for a server connection before it is refused: query_wait_timeout; the same for both pools",
  ),
  createTimeoutMillis: millis(100).describe(
    "how long connecting and logging in to the server may take: server_connect_timeout; the same for both pools",
  ),
  destroyTimeoutMillis: millis(100).describe(
    "how long a connection that one side has closed may linger. PgBouncer closes at once; this is HAProxy's server-fin time-out behind it",
  ),
  idleTimeoutMillis: millis(5000).describe(
    "a server connection unused for this long is closed, down to `min`: server_idle_timeout; the same for both pools",
  ),
  reapIntervalMillis: millis(100).describe(
    "how often idle connections are looked for. No counterpart: PgBouncer's own round is fixed at a third of a second. Kept for pools in clients",
  ),
  createRetryIntervalMillis: millis(10).describe(
    "pause after a failed connection to the server: server_login_retry; the same for both pools",
  ),
} as const;

const overMax = (max: number) => `must not be over max, ${max}`;

/** One pool of connections to the database. */
export const poolSettings = z.strictObject(poolFields).superRefine((pool, ctx) => {
  if (pool.min > pool.max) {
    ctx.addIssue({ code: "custom", path: ["min"], input: pool.min, message: overMax(pool.max) });
  }
});
export type PoolSettings = z.infer<typeof poolSettings>;

/** The two named presets of §5.2.3. */
export const POOL_PROFILES = {
  production: {
    max: 20,
    min: 5,
    acquireTimeoutMillis: 30_000,
    createTimeoutMillis: 30_000,
    destroyTimeoutMillis: 5_000,
    idleTimeoutMillis: 30_000,
    reapIntervalMillis: 1_000,
    createRetryIntervalMillis: 200,
  },
  development: {
    max: 10,
    min: 2,
    acquireTimeoutMillis: 10_000,
    createTimeoutMillis: 10_000,
    destroyTimeoutMillis: 2_000,
    idleTimeoutMillis: 10_000,
    reapIntervalMillis: 1_000,
    createRetryIntervalMillis: 100,
  },
} as const satisfies Record<string, PoolSettings>;

/** What each entry has when no profile is named, §5.2.2: 10/2 for writes, 20/5 for reads. */
const ENTRY_DEFAULTS = {
  write: { ...POOL_PROFILES.production, max: 10, min: 2 },
  read: POOL_PROFILES.production,
} as const satisfies Record<string, PoolSettings>;

export const ENTRIES = ["write", "read"] as const;
export type Entry = (typeof ENTRIES)[number];

/** Settings that PgBouncer holds once for the process, and not once an entry. */
const SHARED = [
  "acquireTimeoutMillis",
  "createTimeoutMillis",
  "idleTimeoutMillis",
  "createRetryIntervalMillis",
] as const;

const overrides = z.strictObject(poolFields).partial();
const container = (cpu: string, cpuLimit: string, memory: string) => resources.prefault({ cpu, cpuLimit, memory });

export const poolerSettings = z
  .strictObject({
    replicas: z.int().min(1).max(10).default(2).describe("number of pooler pods"),
    profile: z
      .enum(["production", "development"])
      .optional()
      .describe(
        "preset that both pools begin from, §5.2.3: production 20/5, development 10/2, each with its time-outs; default: the defaults of `write` and `read`",
      ),
    write: overrides
      .prefault({})
      .describe("pool of the write entry `iam`; default 10/2 with the time-outs of production, §5.2.2"),
    read: overrides
      .prefault({})
      .describe("pool of the read entry `iam_ro`; default 20/5 with the time-outs of production, §5.2.2"),
    readBalance: z
      .enum(["roundrobin", "leastconn"])
      .default("roundrobin")
      .describe(
        "how connections of the read entry are spread over the replicas, §5.2.2: in turn, or to the least loaded one",
      ),
    writeLifetimeSeconds: z
      .int()
      .min(10)
      .max(86_400)
      .default(3600)
      .describe("age at which a connection of the write entry is renewed, between transactions; PgBouncer's default"),
    readLifetimeSeconds: z
      .int()
      .min(10)
      .max(86_400)
      .default(60)
      .describe(
        "age at which a connection of the read entry is renewed, between transactions: within this time reads leave the primary again, and spread over a replica that has come back",
      ),
    healthCheck: z
      .strictObject({
        intervalMillis: z
          .int()
          .min(200)
          .max(60_000)
          .default(1000)
          .describe("how often each database pod is asked for its role"),
        timeoutMillis: z
          .int()
          .min(100)
          .max(60_000)
          .default(1000)
          .describe("how long an answer may take; longer counts as none"),
        fall: z
          .int()
          .min(1)
          .max(10)
          .default(2)
          .describe("bad answers in a row until a database pod is left. After the first one the interval is a third"),
        rise: z.int().min(1).max(10).default(1).describe("good answers in a row until a database pod is used"),
      })
      .prefault({})
      .describe("how the pooler follows the primary and the replicas, by Patroni's REST API"),
    serverCheckDelaySeconds: z
      .int()
      .min(0)
      .max(3600)
      .default(30)
      .describe("a server connection unused for this long is tried with SELECT 1 before it is used again, §5.2.3"),
    idleTransactionTimeoutSeconds: z
      .int()
      .min(0)
      .max(86_400)
      .default(60)
      .describe(
        "a client that is idle inside a transaction for this long loses its connection, as it holds a server connection; 0 for never",
      ),
    maxClientConnections: z
      .int()
      .min(10)
      .max(50_000)
      .default(1000)
      .describe("most client connections of one pooler pod"),
    maxPreparedStatements: z
      .int()
      .min(0)
      .max(10_000)
      .default(200)
      .describe("named prepared statements remembered per connection; 0 refuses them. PgBouncer's default"),
    drainSeconds: z
      .int()
      .min(0)
      .max(3600)
      .default(75)
      .describe(
        "how long a pod that ends waits for its clients to leave by themselves; more than the greatest age of connections in the clients' own pools",
      ),
    resources: z
      .strictObject({
        pgbouncer: container("250m", "1", "128Mi").describe("of PgBouncer, which uses one core at most"),
        haproxy: container("100m", "1", "128Mi").describe("of HAProxy"),
      })
      .prefault({})
      .describe("compute resources of a pooler pod's containers"),
  })
  .superRefine((settings, ctx) => {
    const pools = poolsOf(settings);
    for (const entry of ENTRIES) {
      const { min, max } = pools[entry];
      if (min > max) ctx.addIssue({ code: "custom", path: [entry, "min"], input: min, message: overMax(max) });
    }
    for (const key of SHARED) {
      if (pools.write[key] === pools.read[key]) continue;
      ctx.addIssue({
        code: "custom",
        path: ["read", key],
        input: pools.read[key],
        message: `must be the same as in write, ${pools.write[key]}: PgBouncer holds it once for both entries`,
      });
    }
  })
  .describe("PgBouncer, the connection pooler");
export type PoolerSettings = z.infer<typeof poolerSettings>;

/** Both pools in full: the profile, or the entry's own defaults, with what is given on top. */
export function poolsOf(settings: Pick<PoolerSettings, "profile" | "write" | "read">): Record<Entry, PoolSettings> {
  const base = (entry: Entry) => (settings.profile ? POOL_PROFILES[settings.profile] : ENTRY_DEFAULTS[entry]);
  return { write: { ...base("write"), ...settings.write }, read: { ...base("read"), ...settings.read } };
}

/** The most connections that all pooler pods together may open to one server. The primary is that server: it takes
 *  writes, and all reads when no replica is fit. Twice the pods, as in a rolling update each old one still serves its
 *  clients until they have left while its successor is already at work. There is no reserve pool. */
export function serverConnections(settings: Pick<PoolerSettings, "profile" | "write" | "read" | "replicas">): number {
  const { write, read } = poolsOf(settings);
  return (write.max + read.max) * settings.replicas * 2;
}

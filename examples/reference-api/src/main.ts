import { setTimeout as sleep } from "node:timers/promises";
import { pino } from "pino";
import { buildApp, httpsServer } from "./app.ts";
import { Database } from "./database.ts";
import { within } from "./deadline.ts";
import { followCertificate } from "./edge-client.ts";
import { checkExternal, healthCheck } from "./health.ts";
import { untilMigrated } from "./migrations.ts";
import { connectRedis } from "./redis.ts";
import { describeError } from "./errors.ts";
import { Sessions } from "./sessions.ts";
import { readSecret, readSettings, SettingsError, type Settings } from "./settings.ts";
import { Users } from "./users.ts";

function load(): Settings {
  try {
    return readSettings(process.env);
  } catch (error) {
    if (!(error instanceof SettingsError)) throw error;
    process.stderr.write(`${error.message}\n`);
    process.exit(78);
  }
}

const settings = load();
const log = pino({
  level: settings.logLevel,
  base: { region: settings.region, server: settings.serverId },
  serializers: { err: describeError },
  redact: ["req.headers.authorization", "req.headers.cookie", "password", "*.password"],
});
const stop = new AbortController();
let migrated = false;

const database = new Database(settings.database, (error) =>
  log.warn({ err: error }, "an idle database connection ended"),
);
const redis = connectRedis(settings.redis, (error) => log.warn({ err: error }, "Redis"));
const users = new Users(database);
const sessions = new Sessions({ redis, serverId: settings.serverId, ttlSeconds: settings.sessionTtlSeconds });
const { healthTimeouts } = settings;

const ask = (entry: "write" | "read", replica: string) => async () => {
  const [row] = await database.query<{ recovery: boolean }>(entry, "select pg_is_in_recovery() as recovery");
  return { role: row?.recovery ? replica : "primary" };
};
const healthKey = `health:{${settings.serverId}}`;

const app = buildApp({
  tls: settings.tls,
  logger: log,
  auth: { users, sessions, ttlSeconds: settings.sessionTtlSeconds },
  users: { users, sessions },
  draining: () => stop.signal.aborted,
  health: {
    serverId: settings.serverId,
    region: settings.region,
    ready: () => migrated && !stop.signal.aborted,
    database: healthCheck("database", healthTimeouts.database, [
      // Without the primary reads and logins go on: degraded. Without both nothing does.
      { name: "write", needed: false, check: ask("write", "replica") },
      { name: "read", needed: false, check: ask("read", "replica") },
    ]),
    redis: healthCheck("redis", healthTimeouts.redis, [
      {
        name: "write",
        needed: true,
        check: async () => {
          await redis.set(healthKey, Date.now(), "EX", 60);
          return {};
        },
      },
    ]),
    external: healthCheck(
      "external-services",
      healthTimeouts.external,
      settings.externalServices.map((url) => ({
        name: url,
        needed: false,
        check: () => checkExternal(url, healthTimeouts.external),
      })),
    ),
  },
});

const unfollow = settings.tls
  ? followCertificate(httpsServer(app), settings.tls, (error) => {
      if (error) log.error({ err: error }, "the new certificate cannot be used, the old one stays");
      else log.info("new certificate");
    })
  : () => undefined;

/** Ends: no longer ready; requests that still come are answered, and their connections given up; then everything is
 *  closed, in bounded time. */
async function end(signal: string): Promise<void> {
  if (stop.signal.aborted) return;
  stop.abort();
  log.info({ signal }, "draining");
  const millis = settings.drainSeconds * 1000;
  // The edge's idle connections: each is given up with the next answer on it, in the first half of the time.
  await sleep(millis / 2);
  await within("open requests", millis / 2, app.close()).catch((error: unknown) =>
    log.warn({ err: error }, "requests were cut"),
  );
  unfollow();
  redis.disconnect();
  await database.close();
  log.info("ended");
  process.exit(0);
}
for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, () => void end(signal));

// "::" takes IPv4 too, where there is IPv6 at all.
await app.listen({ port: settings.port, host: "::" }).catch((error: NodeJS.ErrnoException) => {
  if (error.code !== "EAFNOSUPPORT" && error.code !== "EADDRNOTAVAIL") throw error;
  return app.listen({ port: settings.port, host: "0.0.0.0" });
});
// After the port is open: health is answered however long the database takes to come.
migrated = await untilMigrated({
  database,
  adminPassword: () => readSecret(settings.adminPasswordFile),
  signal: stop.signal,
  onFailure: (error, retryMillis) => log.warn({ err: error, retryMillis }, "the schema is not there yet"),
});
if (migrated) log.info("ready");

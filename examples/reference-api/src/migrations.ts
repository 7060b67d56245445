import { setTimeout as sleep } from "node:timers/promises";
import type pg from "pg";
import type { Database } from "./database.ts";
import { hashPassword } from "./passwords.ts";

/** Changes of the schema, in order. One that has been released never changes. */
const MIGRATIONS: readonly string[] = [
  `create table users (
     id bigint generated always as identity primary key,
     username text not null unique,
     password_hash text not null,
     role text not null default 'user' check (role in ('admin', 'user')),
     tenant_id text not null default 'default',
     created_at timestamptz not null default now(),
     last_login_at timestamptz
   )`,
];

export const SCHEMA_VERSION = MIGRATIONS.length;

/** Key of the lock under which one process at a time migrates. Any number, the same in all of them. */
const LOCK = 4_201_337;

/** Whether the schema is there. Asked at the read entry: in a region that is not active there is no other, and its
 *  schema comes by replication. */
async function schemaIsThere(database: Database): Promise<boolean> {
  const [row] = await database.query<{ there: boolean }>(
    "read",
    "select to_regclass('schema_migrations') is not null as there",
  );
  if (!row?.there) return false;
  const [version] = await database.query<{ version: number | null }>(
    "read",
    "select max(version)::int as version from schema_migrations",
  );
  return (version?.version ?? 0) >= SCHEMA_VERSION;
}

/** Brings the schema up to date and makes the first user, all in one transaction: other processes wait at its lock and
 *  find the work done, and one that is killed leaves nothing behind. */
export async function migrate(database: Database, adminPassword: () => string): Promise<void> {
  const adminHash = await hashPassword(adminPassword());
  await database.withClient("write", async (client) => {
    await client.query("begin");
    try {
      await client.query("select pg_advisory_xact_lock($1)", [LOCK]);
      await apply(client, adminHash);
      await client.query("commit");
    } catch (error) {
      await client.query("rollback").catch(() => undefined);
      throw error;
    }
  });
}

async function apply(client: pg.PoolClient, adminHash: string): Promise<void> {
  await client.query(
    "create table if not exists schema_migrations (version int primary key, applied_at timestamptz not null default now())",
  );
  const { rows } = await client.query<{ version: number }>(
    "select coalesce(max(version), 0)::int as version from schema_migrations",
  );
  for (let version = (rows[0]?.version ?? 0) + 1; version <= SCHEMA_VERSION; version++) {
    await client.query(MIGRATIONS[version - 1]!);
    await client.query("insert into schema_migrations (version) values ($1)", [version]);
  }
  await client.query(
    "insert into users (username, password_hash, role) values ('admin', $1, 'admin') on conflict (username) do nothing",
    [adminHash],
  );
}

export interface MigrationLoop {
  readonly database: Database;
  readonly adminPassword: () => string;
  readonly signal: AbortSignal;
  readonly onFailure: (error: unknown, retryMillis: number) => void;
}

/** Tries until the schema is there; each attempt is bounded by the database's own time-outs. Ends without it only when
 *  it is stopped. */
export async function untilMigrated({ database, adminPassword, signal, onFailure }: MigrationLoop): Promise<boolean> {
  for (let retryMillis = 250; !signal.aborted; retryMillis = Math.min(retryMillis * 2, 5000)) {
    try {
      if (!(await schemaIsThere(database))) await migrate(database, adminPassword);
      return true;
    } catch (error) {
      onFailure(error, retryMillis);
      await sleep(retryMillis, undefined, { signal }).catch(() => undefined);
    }
  }
  return false;
}

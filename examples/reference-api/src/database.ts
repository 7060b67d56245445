import { readFileSync } from "node:fs";
import pg from "pg";
import { within } from "./deadline.ts";
import { readSecret, type Settings } from "./settings.ts";

/** Longest wait for a connection, and for one statement. The pooler may hold a query back while a new primary is
 *  elected (some seconds), and that is worth waiting for. */
const CONNECT_MILLIS = 5000;
const QUERY_MILLIS = 10_000;

/** Connections are renewed at this age, so that a pooler pod that drains is left without a request being cut. Less than
 *  the pooler's drainSeconds. */
const MAX_LIFETIME_SECONDS = 60;

export type Entry = "write" | "read";

/** The database through its two entries. */
export class Database {
  readonly #pools: Record<Entry, pg.Pool>;

  constructor(settings: Settings["database"], onError: (error: Error) => void, max = 10) {
    const pool = (database: string) => {
      const made = new pg.Pool({
        host: settings.host,
        port: settings.port,
        user: settings.user,
        // Read at each connection: a new password needs no restart.
        password: () => readSecret(settings.passwordFile),
        database,
        ssl: { ca: readFileSync(settings.caFile), servername: settings.host },
        max,
        connectionTimeoutMillis: CONNECT_MILLIS,
        query_timeout: QUERY_MILLIS,
        idleTimeoutMillis: 30_000,
        maxLifetimeSeconds: MAX_LIFETIME_SECONDS,
        keepAlive: true,
        application_name: "iam-api",
      });
      // Of idle connections; without a listener it would end the process.
      made.on("error", onError);
      return made;
    };
    this.#pools = { write: pool(settings.write), read: pool(settings.read) };
  }

  /** Runs one statement at an entry. */
  async query<R extends pg.QueryResultRow>(entry: Entry, sql: string, values: unknown[] = []): Promise<R[]> {
    return this.withClient(entry, async (client) => (await client.query<R>(sql, values)).rows);
  }

  /** Runs several statements on one connection, which is given up when any of them fails in a way that leaves it in
   *  doubt. */
  async withClient<T>(entry: Entry, work: (client: pg.PoolClient) => Promise<T>): Promise<T> {
    const client = await this.#pools[entry].connect();
    let broken: Error | undefined;
    try {
      return await work(client);
    } catch (error) {
      if (leavesConnection(error)) broken = error as Error;
      throw error;
    } finally {
      client.release(broken);
    }
  }

  async close(): Promise<void> {
    const ended = Promise.allSettled(Object.values(this.#pools).map((pool) => pool.end()));
    await within("closing the database's pools", CONNECT_MILLIS, ended).catch(() => undefined);
  }
}

const DUPLICATE = "23505";
/** A write on a server that is read-only: the connection ends at a primary that was demoted. */
const READ_ONLY = "25006";

function codeOf(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === "string" ? code : undefined;
}

/** Whether a statement failed as such an entry exists already. */
export function isDuplicate(error: unknown): boolean {
  return codeOf(error) === DUPLICATE;
}

/** Whether the connection must not be used again. An error that the server reports leaves it as it was; all others (a
 *  time-out, an end) do not, nor does one that says that this is no primary any more. */
export function leavesConnection(error: unknown): boolean {
  return !(error instanceof pg.DatabaseError) || isUnavailable(error);
}

/** Whether an error says that the database is not there just now, and not that the request was wrong. */
export function isUnavailable(error: unknown): boolean {
  if (!(error instanceof pg.DatabaseError)) {
    const code = codeOf(error);
    const message = error instanceof Error ? error.message : "";
    return (
      /^(E[A-Z]+|ENOTFOUND)$/.test(code ?? "") ||
      /time-?out|timed out|did not answer|Connection terminated|Client has encountered/i.test(message)
    );
  }
  const code = error.code ?? "";
  // 08: connection; 53: out of resources; 57P: shut down; 58: system; the pooler reports its own with 08P01 and 58000.
  return code === READ_ONLY || /^(08|53|57P|58)/.test(code);
}

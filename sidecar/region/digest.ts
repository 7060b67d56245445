import type { Client } from "pg";
import { z } from "zod";
import type { RegionConfig } from "../core/region-config.ts";
import type { DigestAnswer, PageRange, RowDigest } from "../core/region-digest.ts";
import type { Database } from "./database.ts";
import { Sql } from "./sql.ts";
import type { TlsFiles } from "./tls.ts";

/** Time-out of one reading in milliseconds: a stretch of a few pages is read in a few. */
const READ_MILLIS = 5000;
/** Readings that may wait for their turn; more are refused. */
const MAX_WAITING = 8;
const MAX_ROWS = 20_000;

/** What a digest is asked of. */
export const digestQuery = z.strictObject({
  table: z.string().min(1).max(300),
  from: z.coerce.number().int().min(0).max(4_294_967_294),
  to: z.coerce.number().int().min(0).max(4_294_967_294),
  /** Ends at this row instead of the end of page `to`. */
  until: z
    .string()
    .regex(/^\([0-9]{1,10},[0-9]{1,5}\)$/)
    .optional(),
  limit: z.coerce.number().int().min(1).max(MAX_ROWS),
  salt: z.string().regex(/^[0-9a-f]{32}$/),
});
export type DigestQuery = z.infer<typeof digestQuery>;

export interface TableSize {
  /** Schema and name, quoted where SQL needs it. */
  readonly name: string;
  readonly pages: number;
}

const TABLES = `
  SELECT format('%I.%I', n.nspname, c.relname) AS name,
    (pg_relation_size(c.oid) / current_setting('block_size')::int)::int AS pages
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind = 'r' AND c.relpersistence = 'p' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
    AND has_table_privilege(c.oid, 'SELECT')
  ORDER BY 1`;
const POSITION =
  "SELECT (CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END)::text AS lsn";

/** Reads digests of rows of the region's own database. Rows are found by their place in the table and not by key: copies
 *  made from WAL have every row at the same place, a stretch of pages is read without an index, and no key leaves the
 *  region. */
export class Digests {
  readonly #sql: Sql;
  readonly #database: Database;
  #waiting = 0;

  constructor(config: RegionConfig, tls: TlsFiles, database: Database) {
    this.#database = database;
    this.#sql = new Sql(config, tls, { timeoutMillis: READ_MILLIS });
  }

  /** The application's tables that can be read. */
  tables(): Promise<TableSize[]> {
    return this.#turn(async (client) => (await client.query<TableSize>(TABLES)).rows);
  }

  /** Position of the database just now; undefined when it has none yet. */
  position(): Promise<string | undefined> {
    return this.#turn(
      async (client) => (await client.query<{ lsn: string | null }>(POSITION)).rows[0]?.lsn ?? undefined,
    );
  }

  /** @returns undefined when there is no such table */
  read(query: DigestQuery): Promise<DigestAnswer | undefined> {
    return this.#turn(async (client) => {
      // The name goes into SQL only as the database itself quotes it.
      const table = (await client.query<TableSize>(TABLES)).rows.find(({ name }) => name === query.table);
      if (!table) return undefined;
      const { rows } = await client.query<RowDigest>(
        `SELECT ctid::text AS place, xmin::text AS writer,
           left(encode(sha256(convert_to($3 || iam_ha_row::text, 'UTF8')), 'hex'), 32) AS hash
         FROM ONLY ${table.name} AS iam_ha_row WHERE ctid >= $1::tid AND ctid <= $2::tid ORDER BY ctid LIMIT $4`,
        [`(${query.from},0)`, query.until ?? `(${query.to},65535)`, query.salt, query.limit + 1],
      );
      // After the rows: whatever they show was committed before this position.
      const position = (await client.query<{ lsn: string | null }>(POSITION)).rows[0]?.lsn;
      if (!position) throw new Error("the database has no position yet");
      const kept = rows.slice(0, query.limit);
      return {
        lsn: position,
        rows: kept,
        cutAt: rows.length > query.limit ? kept.at(-1)!.place : undefined,
        pages: table.pages,
      };
    });
  }

  close(): Promise<void> {
    return this.#sql.close();
  }

  async #turn<T>(work: (client: Client) => Promise<T>): Promise<T> {
    if (this.#waiting >= MAX_WAITING) throw new Error("too many readings at once");
    this.#waiting++;
    try {
      return await this.#sql.run(this.#database.leaderHost(), work);
    } finally {
      this.#waiting--;
    }
  }
}

/** The query of a digest as text for a URL. */
export function digestPath(
  table: string,
  range: PageRange,
  options: { limit: number; salt: string; until?: string },
): string {
  const query = new URLSearchParams({
    table,
    from: String(range.from),
    to: String(range.to),
    limit: String(options.limit),
    salt: options.salt,
    ...(options.until === undefined ? {} : { until: options.until }),
  });
  return `/digest?${query.toString()}`;
}

import { readFileSync } from "node:fs";
import pg from "pg";

/** How one of the bench's processes gets to a region's database leader. */
export interface DatabaseAccess {
  /** Address of the region's Service `postgresql`. */
  readonly address: string;
  readonly caFile: string;
  readonly user: string;
  readonly database: string;
}

/** Reads the access from argv; the password comes on standard input, never in an argument.
 *  @throws Error when it does not connect in 10 s */
export async function connect(json: string): Promise<pg.Client> {
  const { address, caFile, user, database } = JSON.parse(json) as DatabaseAccess;
  const client = new pg.Client({
    host: address,
    port: 5432,
    user,
    database,
    password: readFileSync(0, "utf8").trim(),
    connectionTimeoutMillis: 10_000,
    query_timeout: 10_000,
    ssl: { ca: readFileSync(caFile), servername: "postgresql" },
  });
  await client.connect();
  return client;
}

import pg from "pg";
import type { RegionConfig } from "../core/region-config.ts";
import { readSecret, type TlsFiles } from "./tls.ts";

/** Reads only, and writes every value of a row the same way in every region. */
const SESSION =
  "-c default_transaction_read_only=on -c datestyle=ISO -c intervalstyle=postgres -c timezone=UTC -c extra_float_digits=1 -c bytea_output=hex";

/** Conversations that may wait for their turn; peers ask too, and one that hangs must not have the others pile up. */
const MAX_WAITING = 8;

/** One connection to the region's database as the monitoring role, made anew after any error, and whenever another host
 *  is asked for. Sessions only read. */
export class Sql {
  readonly #config: RegionConfig["postgres"];
  readonly #tls: TlsFiles;
  readonly #database: string;
  readonly #timeoutMillis: number;
  #client: pg.Client | undefined;
  #host = "";
  #queue: Promise<unknown> = Promise.resolve();
  #waiting = 0;

  constructor(
    config: RegionConfig,
    tls: TlsFiles,
    { timeoutMillis = config.postgres.callTimeoutMillis, database = config.postgres.database } = {},
  ) {
    this.#config = config.postgres;
    this.#tls = tls;
    this.#database = database;
    this.#timeoutMillis = timeoutMillis;
  }

  /** Runs one conversation after the other.
   *  @throws when it does not end in time, the server refuses, or too many wait */
  run<T>(host: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
    if (this.#waiting >= MAX_WAITING) return Promise.reject(new Error("the database is slow to answer: too many wait"));
    this.#waiting++;
    const turn = this.#queue.then(() => this.#bounded(host, work)).finally(() => this.#waiting--);
    this.#queue = turn.catch(() => {});
    return turn;
  }

  async close(): Promise<void> {
    const client = this.#client;
    this.#client = undefined;
    if (!client) return;
    const end = client.end().catch(() => {});
    await Promise.race([end, new Promise((resolve) => setTimeout(resolve, 500).unref())]);
  }

  async #bounded<T>(host: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
    const limit = 3 * this.#timeoutMillis;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error(`the database did not answer within ${limit} ms`)), limit);
    });
    const conversation = this.#connected(host).then(work);
    conversation.catch(() => {});
    try {
      return await Promise.race([conversation, late]);
    } catch (error) {
      void this.close();
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  async #connected(host: string): Promise<pg.Client> {
    if (this.#client && this.#host === host) return this.#client;
    await this.close();
    const { port, user, passwordFile } = this.#config;
    const [tls, password] = await Promise.all([this.#tls.material(), readSecret(passwordFile)]);
    const client = new pg.Client({
      host,
      port,
      user,
      password,
      database: this.#database,
      ssl: { ca: tls.ca, cert: tls.cert, key: tls.key, servername: host },
      connectionTimeoutMillis: this.#timeoutMillis,
      query_timeout: this.#timeoutMillis,
      statement_timeout: this.#timeoutMillis,
      application_name: "region-controller",
      options: SESSION,
    });
    client.on("error", () => {
      if (this.#client === client) this.#client = undefined;
    });
    await client.connect();
    this.#client = client;
    this.#host = host;
    return client;
  }
}

import { ApiError, unavailable } from "./errors.ts";
import { isDuplicate, isUnavailable, type Database, type Entry } from "./database.ts";
import { within } from "./deadline.ts";

export interface User {
  readonly id: string;
  readonly username: string;
  readonly role: string;
  readonly tenantId: string;
  readonly createdAt: string;
}

export interface Credentials extends User {
  readonly passwordHash: string;
}

/** Which server answered. */
export interface ServedBy {
  readonly role: "primary" | "replica";
  /** Address of the database pod. */
  readonly node: string;
}

const SERVED_BY = `case when pg_is_in_recovery() then 'replica' else 'primary' end as "servedRole", coalesce(host(inet_server_addr()), 'local') as "servedNode"`;
const COLUMNS = `id::text, username, role, tenant_id as "tenantId", created_at as "createdAt"`;

/** How long a login waits for the primary before it makes do with a replica. */
const PRIMARY_MILLIS = 3000;

interface Served {
  servedRole: ServedBy["role"];
  servedNode: string;
}

export class Users {
  readonly #database: Database;
  constructor(database: Database) {
    this.#database = database;
  }

  /** A page of users by id. One statement gives both the rows and the server that gave them: with pooling by
   *  transaction a second statement may run elsewhere. */
  async list(entry: Entry, after: string, limit: number): Promise<{ users: User[]; servedBy: ServedBy }> {
    const rows = await this.#run<Served & { users: User[] | null }>(
      entry,
      `select ${SERVED_BY}, (select json_agg(page) from (select ${COLUMNS} from users where id > $1 order by users.id limit $2) as page) as users`,
      [after, limit],
    );
    const [row] = rows;
    if (!row) throw unavailable("database");
    return { users: row.users ?? [], servedBy: { role: row.servedRole, node: row.servedNode } };
  }

  /** @throws ApiError 409 when the name is taken */
  async create(user: {
    username: string;
    passwordHash: string;
    role: string;
  }): Promise<{ user: User; servedBy: ServedBy }> {
    try {
      const [row] = await this.#run<User & Served>(
        "write",
        `insert into users (username, password_hash, role) values ($1, $2, $3) returning ${COLUMNS}, ${SERVED_BY}`,
        [user.username, user.passwordHash, user.role],
      );
      const { servedRole, servedNode, ...made } = row!;
      return { user: made, servedBy: { role: servedRole, node: servedNode } };
    } catch (error) {
      if (isDuplicate(error)) throw new ApiError(409, "username_taken", "A user of this name exists already.");
      throw error;
    }
  }

  /** A user with the password's hash, for a login. From the primary, so that a user made a moment ago is known; from a
   *  replica when there is no primary just now: logins go on during a fail-over. */
  async forLogin(username: string): Promise<{ credentials: Credentials | undefined; servedBy: ServedBy }> {
    try {
      return await within("the primary", PRIMARY_MILLIS, this.#credentials("write", username));
    } catch (error) {
      if (error instanceof ApiError && error.status !== 503) throw error;
      return this.#credentials("read", username);
    }
  }

  async #credentials(
    entry: Entry,
    username: string,
  ): Promise<{ credentials: Credentials | undefined; servedBy: ServedBy }> {
    const [row] = await this.#run<Served & { credentials: Credentials | null }>(
      entry,
      `select ${SERVED_BY}, (select row_to_json(found) from (select ${COLUMNS}, password_hash as "passwordHash" from users where username = $1) as found) as credentials`,
      [username],
    );
    if (!row) throw unavailable("database");
    return { credentials: row.credentials ?? undefined, servedBy: { role: row.servedRole, node: row.servedNode } };
  }

  /** Notes the time of a login. */
  async loggedIn(id: string): Promise<void> {
    await this.#run("write", "update users set last_login_at = now() where id = $1", [id]);
  }

  async #run<R extends object>(entry: Entry, sql: string, values: unknown[]): Promise<R[]> {
    try {
      return await this.#database.query<R>(entry, sql, values);
    } catch (error) {
      if (isUnavailable(error)) throw Object.assign(unavailable("database"), { cause: error });
      throw error;
    }
  }
}

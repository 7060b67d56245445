import type { Cluster } from "ioredis";
import { within } from "./deadline.ts";
import { isSessionId, newSessionId, serverSessionsKey, sessionKey, userSessionKey } from "./session-keys.ts";

export interface Session {
  readonly sessionId: string;
  readonly userId: string;
  readonly username: string;
  readonly role: string;
  readonly tenantId: string;
  readonly serverId: string;
  /** ISO 8601. */
  readonly createdAt: string;
  readonly lastAccessed: string;
  readonly expiresAt: string;
}

export type SessionUser = Pick<Session, "userId" | "username" | "role" | "tenantId">;

/** Touches a session only while it is there: one that was removed in between must not come back as a fragment. */
const TOUCH = `
if redis.call('EXISTS', KEYS[1]) == 0 then return {} end
redis.call('HSET', KEYS[1], 'lastAccessed', ARGV[1], 'expiresAt', ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[3])
return redis.call('HGETALL', KEYS[1])`;

/** Removes a session, and its user's mapping when that still names it and not a later session. */
const REMOVE = `
local there = redis.call('DEL', KEYS[1])
if redis.call('GET', KEYS[2]) == ARGV[1] then redis.call('DEL', KEYS[2]) end
return there`;

/** Extends the mapping of the user when it names this session. */
const EXTEND = `if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('EXPIRE', KEYS[1], ARGV[2]) end return 1`;

/** Longest wait for one command, over redirections and a fail-over's retries. */
const CALL_MILLIS = 3000;

export interface SessionOptions {
  readonly redis: Pick<Cluster, "eval" | "multi" | "zadd" | "zrem" | "zrange" | "zremrangebyscore" | "expire">;
  readonly serverId: string;
  readonly ttlSeconds: number;
  readonly now?: () => Date;
}

/** Sessions in Redis: made at login, extended by use, gone after a time without. */
export class Sessions {
  readonly #options: SessionOptions;
  constructor(options: SessionOptions) {
    this.#options = options;
  }

  #times(): { now: Date; expires: Date } {
    const now = (this.#options.now ?? (() => new Date()))();
    return { now, expires: new Date(now.getTime() + this.#options.ttlSeconds * 1000) };
  }

  #call<T>(promise: Promise<T>): Promise<T> {
    return within("Redis", CALL_MILLIS, promise);
  }

  /** Makes a session. The server's index comes first: an entry without a session is pruned by its time, a session
   *  without an entry would be missed. */
  async create(user: SessionUser): Promise<Session> {
    const { redis, serverId, ttlSeconds } = this.#options;
    const { now, expires } = this.#times();
    const session: Session = {
      ...user,
      sessionId: newSessionId(user.userId),
      serverId,
      createdAt: now.toISOString(),
      lastAccessed: now.toISOString(),
      expiresAt: expires.toISOString(),
    };
    const { sessionId, ...fields } = session;
    await this.#index(sessionId, serverId, now, expires);
    const key = sessionKey(sessionId);
    const results = await this.#call(
      redis
        .multi()
        .hset(key, fields)
        .expire(key, ttlSeconds)
        .set(userSessionKey(user.userId), sessionId, "EX", ttlSeconds)
        .exec(),
    );
    const failed = results?.find(([error]) => error)?.[0];
    if (!results || failed) throw failed ?? new Error("Redis did not run the transaction");
    return session;
  }

  /** The session of an id, its life extended; undefined when there is none. */
  async touch(sessionId: string): Promise<Session | undefined> {
    if (!isSessionId(sessionId)) return undefined;
    const { redis, ttlSeconds } = this.#options;
    const { now, expires } = this.#times();
    const key = sessionKey(sessionId);
    const flat = await this.#call(
      redis.eval(TOUCH, 1, key, now.toISOString(), expires.toISOString(), ttlSeconds) as Promise<string[]>,
    );
    if (flat.length === 0) return undefined;
    const fields: Record<string, string> = {};
    for (let i = 0; i + 1 < flat.length; i += 2) fields[flat[i]!] = flat[i + 1]!;
    const session = { sessionId, ...fields } as unknown as Session;
    await this.#call(redis.eval(EXTEND, 1, userSessionKey(session.userId), sessionId, ttlSeconds));
    await this.#index(sessionId, session.serverId, now, expires);
    return session;
  }

  /** Ends a session; false when it was not there. */
  async remove(session: Pick<Session, "sessionId" | "userId" | "serverId">): Promise<boolean> {
    const { redis } = this.#options;
    const keys = [sessionKey(session.sessionId), userSessionKey(session.userId)];
    const there = await this.#call(redis.eval(REMOVE, 2, ...keys, session.sessionId) as Promise<number>);
    await this.#call(redis.zrem(serverSessionsKey(session.serverId), session.sessionId));
    return there === 1;
  }

  /** Ids of the sessions made at a server that have not ended by time. */
  async ofServer(serverId: string): Promise<string[]> {
    const { now } = this.#times();
    return this.#call(this.#options.redis.zrange(serverSessionsKey(serverId), now.getTime(), "+inf", "BYSCORE"));
  }

  async #index(sessionId: string, serverId: string, now: Date, expires: Date): Promise<void> {
    const { redis, ttlSeconds } = this.#options;
    const key = serverSessionsKey(serverId);
    await this.#call(redis.zadd(key, expires.getTime(), sessionId));
    await this.#call(redis.zremrangebyscore(key, "-inf", now.getTime()));
    await this.#call(redis.expire(key, ttlSeconds));
  }
}

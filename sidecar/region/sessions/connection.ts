import { readFile } from "node:fs/promises";
import type { LookupFunction } from "node:net";
import { Redis } from "ioredis";
import type { RegionConfig } from "../../core/region-config.ts";

/** How nodes of the local cluster are reached. */
export interface RedisAccess {
  readonly redis: RegionConfig["redis"];
  readonly tls: RegionConfig["tls"];
  /** How host names become addresses; undefined: as the system does. */
  readonly lookup?: LookupFunction | undefined;
}

/** A connection to one node, open and logged in. It is never mended: an error ends it, and `close` is emitted once.
 *  @throws when the node cannot be reached in time, or refuses the user or the certificate */
export async function connect(access: RedisAccess, host: string, port: number): Promise<Redis> {
  const { redis, tls, lookup } = access;
  const [ca, cert, key, password] = await Promise.all([
    readFile(tls.caFile),
    readFile(tls.certFile),
    readFile(tls.keyFile),
    readFile(redis.passwordFile, "utf8"),
  ]);
  const client = new Redis({
    host,
    port,
    username: redis.user,
    password: password.trim(),
    tls: { ca, cert, key, servername: host, ...(lookup ? { lookup } : {}) },
    // Invalidations come as messages of a channel: with RESP3 the client library drops them.
    protocol: 2,
    lazyConnect: true,
    connectTimeout: redis.callTimeoutMillis,
    commandTimeout: redis.callTimeoutMillis,
    maxRetriesPerRequest: 0,
    // No command is ever sent again by itself: it might be an old value by then.
    retryStrategy: () => null,
    autoResendUnfulfilledCommands: false,
    enableOfflineQueue: false,
    enableReadyCheck: false,
    disableClientInfo: true,
  });
  // The reason is kept for the one who waits: connect() itself only says that the connection is closed.
  let reason: Error | undefined;
  client.on("error", (error: Error) => {
    reason = error;
  });
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    const limit = 2 * redis.callTimeoutMillis;
    timer = setTimeout(() => reject(new Error(`no connection within ${limit} ms`)), limit);
  });
  try {
    await Promise.race([client.connect(), late]);
  } catch (error) {
    client.disconnect();
    throw reason ?? error;
  } finally {
    clearTimeout(timer);
  }
  return client;
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

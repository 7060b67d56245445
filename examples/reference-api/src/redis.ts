import { readFileSync } from "node:fs";
import { Cluster } from "ioredis";
import { readSecret, type Settings } from "./settings.ts";

/** A client of the Redis cluster.
 *
 *  `socketTimeout` and `slotsRefreshInterval` are what makes it recover from a master that died or froze: with the
 *  defaults it stays with the frozen one. Nodes announce themselves by host name, which TLS then checks. */
export function connectRedis(settings: Settings["redis"], onError: (error: Error) => void): Cluster {
  const redisOptions = {
    username: settings.user,
    password: readSecret(settings.passwordFile),
    tls: { ca: readFileSync(settings.caFile) },
    connectTimeout: 2000,
    socketTimeout: 2000,
    maxRetriesPerRequest: 2,
  };
  const cluster = new Cluster([{ host: settings.host, port: settings.port }], {
    // Names as they are: resolving them first would leave TLS with an address to check.
    dnsLookup: (address, callback) => callback(null, address),
    slotsRefreshTimeout: 2000,
    slotsRefreshInterval: 1000,
    clusterRetryStrategy: (times) => {
      // A new password may have come with the failed attempt; new connections take it from here.
      redisOptions.password = readSecret(settings.passwordFile);
      return Math.min(100 + times * 50, 1000);
    },
    redisOptions,
  });
  cluster.on("error", onError);
  return cluster;
}

import { createHash } from "node:crypto";
import type { Redis } from "ioredis";
import { keySlot } from "../../core/redis-slots.ts";
import type { SessionCluster } from "./cluster.ts";

/** A value of more bytes, as Redis estimates them, is not compared: reading it would hold Redis up. */
const DIGEST_BYTES = 1024 ** 2;
export const TOO_BIG = "too-big";

export interface Digest {
  /** Of the key's type and content. */
  readonly digest: string;
  /** Unix time in milliseconds; undefined: never. */
  readonly expiresAt: number | undefined;
}

/** Digests of what keys hold now; keys that are gone are left out. By content and not by DUMP: the same content may be
 *  laid out differently in two servers.
 *  @throws when a key's slot cannot be read */
export async function digestsOf(cluster: SessionCluster, keys: readonly string[]): Promise<Map<string, Digest>> {
  const all = await Promise.all(
    keys.map(async (key) => [key, await digestOf(cluster.clientOf(keySlot(key)), Buffer.from(key, "latin1"))] as const),
  );
  return new Map(all.filter((pair): pair is readonly [string, Digest] => pair[1] !== undefined));
}

async function digestOf(client: Redis, key: Buffer): Promise<Digest | undefined> {
  const [type, size, time] = await Promise.all([
    client.call("TYPE", key),
    client.call("MEMORY", "USAGE", key),
    client.call("PEXPIRETIME", key),
  ]);
  const expiresAt = Number(time);
  if (type === "none" || size === null || expiresAt === -2) return undefined;
  const hash = createHash("sha256").update(`${String(type)}\n`);
  const parts = Number(size) > DIGEST_BYTES ? undefined : await contentOf(client, String(type), key);
  // Lengths stand before the parts, so that no two contents run together into the same bytes.
  for (const part of parts ?? []) hash.update(`${part.length}:`).update(part);
  const digest = parts ? hash.digest("base64url").slice(0, 22) : TOO_BIG;
  return { digest, expiresAt: expiresAt < 0 ? undefined : expiresAt };
}

/** Content in an order of its own; undefined when it is of a type that is not known, or has become another one. */
async function contentOf(client: Redis, type: string, key: Buffer): Promise<Buffer[] | undefined> {
  const read = async (...command: [string, ...(string | Buffer)[]]) => {
    const [name, ...rest] = command;
    return (await client.callBuffer(name, ...rest)) as Buffer[];
  };
  switch (type) {
    case "string":
      return [((await client.callBuffer("GET", key)) as Buffer | null) ?? Buffer.alloc(0)];
    case "hash": {
      const flat = await read("HGETALL", key);
      const pairs = flat.flatMap((field, i) => (i % 2 === 0 ? [[field, flat[i + 1]!] as const] : []));
      return pairs.sort(([a], [b]) => a.compare(b)).flat();
    }
    case "set":
      return (await read("SMEMBERS", key)).sort((a, b) => a.compare(b));
    case "zset":
      return read("ZRANGE", key, "0", "-1", "WITHSCORES");
    case "list":
      return read("LRANGE", key, "0", "-1");
    case "stream": {
      const dump = (await client.callBuffer("DUMP", key)) as Buffer | null;
      return dump ? [dump] : undefined;
    }
    default:
      return undefined;
  }
}

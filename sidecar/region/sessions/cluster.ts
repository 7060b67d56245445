import { createHash } from "node:crypto";
import type { Redis } from "ioredis";
import type { Logger } from "pino";
import { parseClusterNodes, parseInfo, type Peer } from "../../core/redis-nodes.ts";
import { slotMap, type SlotMap, type SlotOwner } from "../../core/redis-slots.ts";
import { connect, messageOf, type RedisAccess } from "./connection.ts";

/** Keys in one slot at most: they are listed at once. */
const SLOT_KEYS = 200_000;
/** Slots whose keys are listed at once. */
const SLOTS_AT_ONCE = 512;

interface Node {
  readonly id: string;
  readonly host: string;
  readonly client: Redis;
  /** Changes when its server restarts. */
  readonly runId: string;
}

/** The local Redis Cluster: who serves which slot, and a connection to each node. A cluster client of a library would
 *  follow redirections and repeat commands on its own, and so could write an old value after it has become one. */
export class SessionCluster {
  readonly #access: RedisAccess;
  readonly #log: Logger;
  #nodes = new Map<string, Node>();
  #map: SlotMap | undefined;
  #seenAt = -Infinity;
  #problem = "";

  constructor(access: RedisAccess, log: Logger) {
    this.#access = access;
    this.#log = log;
  }

  /** Who serves what, as of the last look; undefined before the first, and while no node answers. */
  get map(): SlotMap | undefined {
    return this.#map;
  }

  /** When the last successful look began, by `performance.now()`. */
  get seenAt(): number {
    return this.#seenAt;
  }

  /** Identity of the masters in their present lives: another one says that writes may have been lost. undefined while one
   *  of them cannot be reached. */
  get identity(): string | undefined {
    if (!this.#map || this.#map.dark.length > 0) return undefined;
    const runs = this.#map.owners.map(({ id }) => this.#nodes.get(id)?.runId);
    if (runs.includes(undefined)) return undefined;
    return createHash("sha256")
      .update(`${this.#map.signature} ${runs.join(" ")}`)
      .digest("base64url");
  }

  /** Asks all nodes who serves what, and connects to those that are new. */
  async look(): Promise<void> {
    const startedAt = performance.now();
    let views = await this.#views();
    if (views.length === 0) views = await this.#seedView();
    if (views.length === 0) {
      this.#map = undefined;
      return;
    }
    this.#map = slotMap(views);
    this.#seenAt = startedAt;
    const known = new Map(views.flat().map((peer) => [peer.id, peer]));
    for (const [id, node] of this.#nodes) if (!known.has(id)) this.#drop(node, "it is no part of the cluster");
    const missing = [...known.values()].filter(
      (peer) => !this.#nodes.has(peer.id) && !peer.failed && !peer.handshake && peer.hostname !== "",
    );
    await Promise.all(missing.map((peer) => this.#join(peer)));
  }

  /** The connection to a slot's owner.
   *  @throws while nobody serves the slot, or its owner cannot be reached */
  clientOf(slot: number): Redis {
    const owner = this.#map?.ownerOf(slot);
    if (!owner) throw new Error(`no node of Redis serves slot ${slot}`);
    return this.clientAt(owner);
  }

  /** @throws when the node cannot be reached at present */
  clientAt(owner: SlotOwner): Redis {
    const node = this.#nodes.get(owner.id);
    if (!node) throw new Error(`there is no connection to ${owner.hostname}, a master of Redis`);
    return node.client;
  }

  /** Names of the keys in each of some slots, as text of their bytes.
   *  @throws when a slot holds more than `SLOT_KEYS`, or cannot be read */
  async keysOfSlots(slots: readonly number[]): Promise<string[][]> {
    const all: string[][] = [];
    for (let i = 0; i < slots.length; i += SLOTS_AT_ONCE)
      all.push(...(await Promise.all(slots.slice(i, i + SLOTS_AT_ONCE).map((slot) => this.#keysOfSlot(slot)))));
    return all;
  }

  async #keysOfSlot(slot: number): Promise<string[]> {
    const client = this.clientOf(slot);
    const keys = (await client.callBuffer("CLUSTER", "GETKEYSINSLOT", slot, SLOT_KEYS + 1)) as Buffer[];
    if (keys.length > SLOT_KEYS)
      throw new Error(`slot ${slot} of Redis holds more than ${SLOT_KEYS} keys: spread them`);
    return keys.map((key) => key.toString("latin1"));
  }

  close(): void {
    for (const { client } of this.#nodes.values()) client.disconnect();
    this.#nodes = new Map();
    this.#map = undefined;
  }

  async #views(): Promise<Peer[][]> {
    const views = await Promise.all(
      [...this.#nodes.values()].map(async (node): Promise<Peer[] | undefined> => {
        try {
          return await viewOf(node.client);
        } catch (error) {
          this.#drop(node, messageOf(error));
          return undefined;
        }
      }),
    );
    return views.filter((view) => view !== undefined);
  }

  async #seedView(): Promise<Peer[][]> {
    const { host, port } = this.#access.redis;
    let client: Redis | undefined;
    try {
      client = await connect(this.#access, host, port);
      return [await viewOf(client)];
    } catch (error) {
      this.#report(`${host}: ${messageOf(error)}`);
      return [];
    } finally {
      client?.disconnect();
    }
  }

  async #join(peer: Peer): Promise<void> {
    let client: Redis | undefined;
    try {
      client = await connect(this.#access, peer.hostname, peer.address.port);
      const { self } = parseClusterNodes(String(await client.call("CLUSTER", "NODES")));
      if (self.id !== peer.id) throw new Error("another node answers under its name");
      const runId = parseInfo(String(await client.call("INFO", "server"))).get("run_id") ?? "";
      const node: Node = { id: peer.id, host: peer.hostname, client, runId };
      client.once("close", () => this.#drop(node, "the connection was lost"));
      if (client.status !== "ready") throw new Error("the connection was lost");
      this.#nodes.set(peer.id, node);
    } catch (error) {
      client?.disconnect();
      this.#report(`${peer.hostname}: ${messageOf(error)}`);
    }
  }

  #drop(node: Node, reason: string): void {
    node.client.disconnect();
    if (this.#nodes.get(node.id) !== node) return;
    this.#nodes.delete(node.id);
    this.#report(`${node.host}: ${reason}`);
  }

  /** Says it once, and not at every look. */
  #report(problem: string): void {
    if (problem === this.#problem) return;
    this.#problem = problem;
    this.#log.warn({ event: "redis-away", cause: problem }, problem);
  }
}

async function viewOf(client: Redis): Promise<Peer[]> {
  const { self, peers } = parseClusterNodes(String(await client.call("CLUSTER", "NODES")));
  return [self, ...peers];
}

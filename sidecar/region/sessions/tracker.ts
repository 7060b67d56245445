import { randomUUID } from "node:crypto";
import type { Redis } from "ioredis";
import type { Logger } from "pino";
import type { SlotOwner } from "../../core/redis-slots.ts";
import type { ChangeLog } from "../../core/session-log.ts";
import { INVALIDATION_CHANNEL } from "../../core/session-protocol.ts";
import type { SessionCluster } from "./cluster.ts";
import { connect, messageOf, type RedisAccess } from "./connection.ts";

/** How long slots may be without a master before copying goes on without them, in milliseconds: a failover takes 6 to
 *  10 s, and each change of masters means a walk over all keys. */
const DARK_MILLIS = 30_000;
/** A look at the cluster that is older than this, and the time-outs of its calls, says nothing any more, in
 *  milliseconds. */
const STALE_MILLIS = 3000;

/** Hears from one master of every changed key with one of the prefixes: written, deleted, expired or evicted, by whomever.
 *  Two connections, as Redis has it for RESP2: one on which the names arrive, one that switches it on and holds it. */
class Tracking {
  readonly #inbox: Redis;
  readonly #holder: Redis;
  /** Everything that this master changed before, by the wall clock, has been heard of. */
  confirmedAt: number;
  #pingedAt: number;
  lost: string | undefined;

  private constructor(inbox: Redis, holder: Redis, now: number) {
    this.#inbox = inbox;
    this.#holder = holder;
    this.confirmedAt = this.#pingedAt = now;
    for (const client of [inbox, holder]) {
      client.once("close", () => (this.lost ??= "the connection was lost"));
      if (client.status !== "ready") this.lost = "the connection was lost";
    }
  }

  /** @param heard is told each key, as text of its bytes */
  static async begin(
    access: RedisAccess,
    owner: SlotOwner,
    prefixes: readonly string[],
    heard: (key: string) => void,
    now: () => number,
  ): Promise<Tracking> {
    const clients: Redis[] = [];
    try {
      const inbox = await connect(access, owner.hostname, owner.port);
      clients.push(inbox);
      const holder = await connect(access, owner.hostname, owner.port);
      clients.push(holder);
      const id = String(await inbox.call("CLIENT", "ID"));
      await inbox.subscribe(INVALIDATION_CHANNEL);
      let tracking: Tracking | undefined;
      inbox.on("messageBuffer", (_channel: unknown, keys: unknown) => {
        // Without names: everything was flushed.
        if (!Array.isArray(keys)) {
          if (tracking) tracking.lost ??= "all keys were flushed";
          return;
        }
        for (const key of keys as Buffer[]) heard(key.toString("latin1"));
      });
      const each = prefixes.flatMap((prefix) => ["PREFIX", prefix]);
      await holder.call("CLIENT", "TRACKING", "ON", "REDIRECT", id, "BCAST", ...each);
      return (tracking = new Tracking(inbox, holder, now()));
    } catch (error) {
      for (const client of clients) client.disconnect();
      throw error;
    }
  }

  /** Finds out whether both connections still work, and up to when everything was heard. */
  async check(now: number): Promise<void> {
    try {
      await Promise.all([this.#inbox.ping(), this.#holder.ping()]);
      // Names are sent at the end of a turn of the server, its reply within it: what was changed just before this ping
      // may come after the reply, but nothing that was changed before the ping before.
      this.confirmedAt = this.#pingedAt;
      this.#pingedAt = now;
    } catch (error) {
      this.lost ??= messageOf(error);
    }
  }

  close(): void {
    this.#inbox.disconnect();
    this.#holder.disconnect();
  }
}

/** Keeps the log of changed keys of the local cluster. The log lives as long as nothing can have been missed: no
 *  connection was lost and no slot has come to another master. */
export class Tracker {
  readonly #access: RedisAccess;
  readonly #cluster: SessionCluster;
  readonly #changes: ChangeLog;
  readonly #log: Logger;
  readonly #now: () => number;
  readonly #prefixes: readonly string[];
  #trackings = new Map<string, Tracking>();
  #signature = "";
  #darkSince: number | undefined;
  #problem = "";

  constructor(access: RedisAccess, cluster: SessionCluster, changes: ChangeLog, log: Logger, now: () => number) {
    this.#access = access;
    this.#cluster = cluster;
    this.#changes = changes;
    this.#log = log;
    this.#now = now;
    this.#prefixes = [...access.redis.copy, ...access.redis.invalidate];
  }

  /** Brings the trackings into line with the last look at the cluster. */
  async update(): Promise<void> {
    const map = this.#cluster.map;
    const checkedAt = this.#now();
    await Promise.all([...this.#trackings.values()].map((tracking) => tracking.check(checkedAt)));
    const age = performance.now() - this.#cluster.seenAt;
    if (!map || age > STALE_MILLIS + 3 * this.#access.redis.callTimeoutMillis)
      return this.#end("no node of Redis answers");
    if (map.signature !== this.#signature) {
      this.#end("slots of Redis have come to other masters");
      this.#signature = map.signature;
    }
    for (const [id, tracking] of this.#trackings) {
      if (tracking.lost === undefined) continue;
      tracking.close();
      this.#trackings.delete(id);
      this.#end(tracking.lost);
    }
    const serving = map.owners.filter(({ failed }) => !failed);
    const dark = map.dark.length > 0;
    this.#darkSince = dark ? (this.#darkSince ?? performance.now()) : undefined;
    const missing = serving.filter(({ id }) => !this.#trackings.has(id));
    if (missing.length > 0) {
      // Also when a master that was away has come back: what it changed meanwhile was not heard.
      this.#end("a master of Redis is not listened to yet");
      await Promise.all(missing.map((owner) => this.#begin(owner)));
      if (serving.some(({ id }) => !this.#trackings.has(id))) return;
    }
    if (dark && performance.now() - this.#darkSince! < DARK_MILLIS) return this.#end("slots of Redis have no master");
    if (this.#changes.instance === undefined) {
      this.#changes.begin(randomUUID(), this.#now());
      this.#problem = "";
      this.#log.info(
        { event: "changes-heard", masters: serving.length, dark: map.dark, cause: "every master tells them" },
        "changed keys are heard of",
      );
    }
    // Nor is anything known of a slot's new owner that came after the look.
    const lookedAt = this.#now() - (performance.now() - this.#cluster.seenAt);
    this.#changes.confirm(Math.min(lookedAt, ...serving.map(({ id }) => this.#trackings.get(id)!.confirmedAt)));
  }

  close(): void {
    this.#changes.end();
    for (const tracking of this.#trackings.values()) tracking.close();
    this.#trackings = new Map();
  }

  async #begin(owner: SlotOwner): Promise<void> {
    const heard = (key: string) => this.#changes.record(key, this.#now());
    try {
      const tracking = await Tracking.begin(this.#access, owner, this.#prefixes, heard, this.#now);
      this.#trackings.set(owner.id, tracking);
    } catch (error) {
      this.#report(`${owner.hostname}: ${messageOf(error)}`);
    }
  }

  #end(reason: string): void {
    if (this.#changes.instance !== undefined) {
      this.#changes.end();
      this.#report(reason);
    }
    const owners = new Set(this.#cluster.map?.owners.filter(({ failed }) => !failed).map(({ id }) => id));
    for (const [id, tracking] of this.#trackings) {
      if (owners.has(id)) continue;
      tracking.close();
      this.#trackings.delete(id);
    }
  }

  #report(reason: string): void {
    if (reason === this.#problem) return;
    this.#problem = reason;
    this.#log.warn({ event: "changes-missed", cause: reason }, `changed keys may be missed: ${reason}`);
  }
}

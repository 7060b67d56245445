import type { KeyValue, Transaction } from "../../sidecar/core/region-activity.ts";

/** The part of etcd that activity rests on: revisions, leases, transactions. Time is a number that the test moves. */
export class WitnessModel {
  readonly keys = new Map<string, KeyValue>();
  readonly leases = new Map<string, { ttl: number; until: number }>();
  now = 0;
  #revision = 0;
  #leases = 0;

  /** Moves the clock on; leases that have run out take their keys with them. */
  advance(seconds: number): void {
    this.now += seconds;
    for (const [id, { until }] of this.leases) {
      if (until > this.now) continue;
      this.leases.delete(id);
      for (const [key, kv] of this.keys) if (kv.lease === id) this.keys.delete(key);
    }
  }

  read(): KeyValue[] {
    return [...this.keys.values()];
  }

  grant(ttl: number): string {
    const id = String(++this.#leases);
    this.leases.set(id, { ttl, until: this.now + ttl });
    return id;
  }

  keepAlive(id: string): number {
    const lease = this.leases.get(id);
    if (!lease) return 0;
    lease.until = this.now + lease.ttl;
    return lease.ttl;
  }

  commit({ compare, puts }: Transaction): boolean {
    const holds = compare.every((condition) => {
      const kv = this.keys.get(condition.key);
      switch (condition.is) {
        case "absent":
          return kv === undefined;
        case "unchanged":
          return kv?.modRevision === condition.modRevision;
        case "equal":
          return kv?.value === condition.value;
      }
    });
    if (!holds) return false;
    for (const { lease } of puts)
      if (lease !== undefined && !this.leases.has(lease)) throw new Error("requested lease not found");
    this.#revision++;
    for (const { key, value, lease = "0" } of puts)
      this.keys.set(key, { key, value, lease, modRevision: this.#revision });
    return true;
  }
}

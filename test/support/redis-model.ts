import assert from "node:assert/strict";
import {
  SLOTS,
  slotCount,
  type NodeAddress,
  type NodeView,
  type Peer,
  type SlotRange,
} from "../../sidecar/core/redis-nodes.ts";
import { shares } from "../../sidecar/core/redis-placement.ts";
import type { Action } from "../../sidecar/core/redis-topology.ts";
import type { NodeObservation } from "../../sidecar/core/redis-world.ts";

/** A Redis Cluster in memory, as far as the keeper's decisions go: who knows whom and at which address, gossip, failure
 *  detection, elections, epochs, copies of data. It refuses what Redis refuses, and fails the test for what Redis would
 *  do but nobody may ask of it: a slot given out twice, the last copy of data thrown away. */

interface Entry {
  address: NodeAddress;
  hostname: string;
  masterId: string | undefined;
  slots: SlotRange[];
  epoch: number;
  failed: boolean;
  connected: boolean;
}

export interface ModelNode {
  readonly name: string;
  id: string;
  machine: string;
  up: boolean;
  address: NodeAddress;
  masterId: string | undefined;
  /** Where it looks for its master. Follows the table only where Redis makes it. */
  masterAt: NodeAddress | undefined;
  slots: SlotRange[];
  epoch: number;
  table: Map<string, Entry>;
  banned: Set<string>;
  /** First slots of the shares of which it has all data. */
  copies: Set<number>;
}

const key = (range: SlotRange) => range[0];
const sameRange = (a: SlotRange, b: SlotRange) => a[0] === b[0] && a[1] === b[1];

export class RedisModel {
  readonly nodes: ModelNode[];
  readonly masters: number;
  /** Shares that have been given out, and so hold data; by their first slot. */
  readonly given = new Set<number>();
  #serial = 0;
  #epoch = 0;

  constructor(masters: number, count: number, machines: number) {
    this.masters = masters;
    this.nodes = Array.from({ length: count }, (_, i) => ({
      name: `node-${i}`,
      id: this.#newId(i),
      machine: `machine-${i % machines}`,
      up: true,
      address: this.#newAddress(),
      masterId: undefined,
      masterAt: undefined,
      slots: [],
      epoch: 0,
      table: new Map(),
      banned: new Set(),
      copies: new Set(),
    }));
  }

  #newId(i: number): string {
    return `id-${i}-${++this.#serial}`;
  }
  #newAddress(): NodeAddress {
    return { ip: `10.0.0.${++this.#serial}`, port: 6379, busPort: 16379 };
  }
  live(id: string | undefined): ModelNode | undefined {
    return this.nodes.find((node) => node.up && node.id === id);
  }

  // What happens to the cluster.

  kill(i: number): void {
    this.nodes[i]!.up = false;
  }
  /** Its pod starts again: at a new address, with its volume or with an empty one, on the same or another machine. */
  restart(i: number, { wipe = false, machine }: { wipe?: boolean; machine?: string } = {}): void {
    const node = this.nodes[i]!;
    node.up = true;
    node.address = this.#newAddress();
    node.masterAt = undefined;
    if (machine) node.machine = machine;
    for (const entry of node.table.values()) entry.connected = false;
    if (!wipe) return;
    Object.assign(node, { id: this.#newId(i), masterId: undefined, slots: [], epoch: 0 });
    node.table = new Map();
    node.banned = new Set();
    node.copies = new Set();
  }

  /** One node takes an epoch it hears at a former address of another for that one's. */
  mistake(i: number, about: number): void {
    const entry = this.nodes[i]!.table.get(this.nodes[about]!.id);
    if (entry) entry.epoch = Math.max(entry.epoch, this.#epoch);
  }

  /** All that nodes do by themselves within some seconds; without elections: within one. */
  settle({ elections = true } = {}): void {
    for (let round = 0; round < 3; round++) {
      this.#gossip();
      if (elections) this.#elect();
      this.#replicate();
    }
  }

  #gossip(): void {
    for (const a of this.nodes.filter((node) => node.up)) {
      for (const [id, entry] of a.table) {
        const b = this.live(id);
        const reached = b !== undefined && entry.address.ip === b.address.ip && b.table.has(a.id);
        entry.connected = reached;
        entry.failed = !reached;
        if (!reached) continue;
        // An epoch once heard only grows.
        const epoch = Math.max(entry.epoch, b.epoch);
        Object.assign(entry, { hostname: b.name, masterId: b.masterId, slots: [...b.slots], epoch });
        // Whoever is reached learns the present address of the one who reaches it.
        this.#greet(b, a);
        for (const [other, known] of b.table) {
          if (other === a.id || a.banned.has(other)) continue;
          const mine = a.table.get(other);
          // The host name does not travel by hearsay.
          if (!mine) a.table.set(other, { ...known, slots: [...known.slots], hostname: "", connected: false });
          // By hearsay the table learns of a new address, and replication does not.
          else if (mine.failed && !known.failed) mine.address = known.address;
        }
      }
    }
    this.#resolveEpochs();
  }

  /** A node hears the address of another one from that one itself. */
  #greet(node: ModelNode, other: ModelNode): void {
    const entry = node.table.get(other.id)!;
    if (entry.address.ip === other.address.ip) return;
    entry.address = other.address;
    if (node.masterId === other.id) node.masterAt = other.address;
  }

  #follow(node: ModelNode, masterId: string): void {
    node.masterId = masterId;
    node.masterAt = node.table.get(masterId)?.address;
  }

  /** Whoever has the higher epoch keeps a slot; the one who loses the last of its slots becomes its replica. */
  #resolveEpochs(): void {
    const up = this.nodes.filter((node) => node.up);
    for (const a of up) {
      for (const b of up) {
        if (a === b || !a.table.get(b.id)?.connected) continue;
        for (const range of [...b.slots]) {
          // The tables of third ones follow the newer owner too.
          for (const [id, entry] of a.table)
            if (id !== b.id && entry.epoch < b.epoch) entry.slots = entry.slots.filter((s) => !sameRange(s, range));
          if (!a.slots.some((s) => sameRange(s, range)) || a.epoch >= b.epoch) continue;
          a.slots = a.slots.filter((s) => !sameRange(s, range));
          if (a.slots.length > 0) continue;
          this.#follow(a, b.id);
          a.copies.clear();
        }
      }
      this.#heedUpdates(a);
      // Who follows a replica follows that one's master.
      const master = this.live(a.masterId);
      if (master?.masterId && a.table.has(master.masterId) && master.masterId !== a.id)
        this.#follow(a, master.masterId);
    }
  }

  /** Whoever comes back with slots that went to another one meanwhile is told so, even when that one is gone by now: it
   *  becomes its replica, with the data it has, and may be elected in its place. */
  #heedUpdates(a: ModelNode): void {
    for (const b of this.nodes.filter((node) => node.up && a.table.get(node.id)?.connected)) {
      for (const [id, told] of b.table) {
        const known = a.table.get(id);
        if (this.live(id) || !known || told.epoch <= a.epoch) continue;
        const gone = a.slots.filter((range) => told.slots.some((s) => sameRange(s, range)));
        if (gone.length === 0) continue;
        a.slots = a.slots.filter((range) => !gone.includes(range));
        Object.assign(known, { slots: [...told.slots], masterId: undefined, epoch: told.epoch });
        if (a.slots.length === 0) this.#follow(a, id);
      }
    }
  }

  #elect(): void {
    for (const replica of this.nodes.filter((node) => node.up && node.masterId)) {
      const entry = replica.table.get(replica.masterId!);
      if (!entry || this.live(replica.masterId) || entry.slots.length === 0) continue;
      // Any replica is elected in the end (cluster-replica-validity-factor 0), the most advanced one first.
      const rivals = this.nodes.filter((node) => node.up && node !== replica && node.masterId === replica.masterId);
      if (!this.#holds(replica, entry.slots) && rivals.some((node) => this.#holds(node, entry.slots))) continue;
      const owners = new Set([...replica.table].filter(([, e]) => e.slots.length > 0).map(([id]) => id));
      const voters = [...owners].filter((id) => {
        const voter = this.live(id);
        const known = voter?.table.get(replica.masterId!)?.epoch ?? 0;
        return voter && replica.table.get(id)!.connected && known <= entry.epoch;
      });
      if (voters.length > owners.size / 2) this.#promote(replica, entry);
    }
  }

  #promote(replica: ModelNode, entry: Entry): void {
    replica.slots = entry.slots;
    entry.slots = [];
    replica.masterId = undefined;
    replica.masterAt = undefined;
    replica.epoch = ++this.#epoch;
  }

  #replicate(): void {
    for (const replica of this.nodes.filter((node) => node.up && node.masterId)) {
      replica.masterAt ??= replica.table.get(replica.masterId!)?.address;
      const master = this.#source(replica);
      if (!master || !replica.table.get(master.id)?.connected) continue;
      replica.copies = new Set([...master.copies]);
    }
  }

  /** A replica's master, where it is found at the place where it is looked for. */
  #source(replica: ModelNode): ModelNode | undefined {
    const master = this.live(replica.masterId);
    return master?.address.ip === replica.masterAt?.ip ? master : undefined;
  }

  #holds(node: ModelNode, ranges: readonly SlotRange[]): boolean {
    return ranges.every((range) => node.copies.has(key(range)));
  }

  // What the keeper sees and asks for.

  observe(unseen: ReadonlySet<number> = new Set()): NodeObservation[] {
    return this.nodes.map((node, i) => ({
      name: node.name,
      machine: node.machine,
      view: node.up && !unseen.has(i) ? this.#view(node) : undefined,
    }));
  }

  #view(node: ModelNode): NodeView {
    const peer = (id: string, e: Entry, myself: boolean): Peer => ({
      id,
      address: e.address,
      hostname: e.hostname,
      myself,
      role: e.masterId === undefined ? "master" : "replica",
      masterId: e.masterId,
      failed: e.failed,
      suspect: false,
      handshake: false,
      noAddress: false,
      connected: e.connected,
      configEpoch: e.epoch,
      slots: e.slots,
    });
    const self = peer(node.id, { ...node, hostname: node.name, failed: false, connected: true }, true);
    const master = this.#source(node);
    return {
      self,
      peers: [...node.table].map(([id, entry]) => peer(id, entry, false)),
      keys: node.copies.size * 5,
      inSync: master !== undefined && [...master.copies].every((copy) => node.copies.has(copy)),
      masterAt: node.masterId === undefined ? undefined : node.masterAt,
      offset: node.copies.size,
    };
  }

  /** Carries an action out as Redis would; what it refuses changes nothing. */
  apply(action: Action): void {
    const node = this.nodes.find(({ name }) => name === action.at)!;
    if (!node.up) return;
    const before = this.#safeShares();
    this.#carryOut(node, action);
    for (const share of before)
      assert.ok(this.#safeShares().has(share), `the last copy of ${share} is gone by ${JSON.stringify(action)}`);
  }

  #carryOut(node: ModelNode, action: Action): void {
    switch (action.kind) {
      case "meet": {
        const other = this.nodes.find((n) => n.up && n.address.ip === action.address.ip);
        if (!other || other === node) return;
        for (const [a, b] of [
          [node, other],
          [other, node],
        ] as const) {
          if (a.table.has(b.id)) {
            this.#greet(a, b);
            continue;
          }
          const fresh: Entry = {
            address: b.address,
            hostname: b.name,
            masterId: b.masterId,
            slots: [...b.slots],
            epoch: b.epoch,
            failed: false,
            connected: true,
          };
          a.table.set(b.id, fresh);
        }
        return;
      }
      case "forget":
        if (node.id === action.id || node.masterId === action.id) return;
        assert.ok(!this.live(action.id), "a live node is forgotten");
        if (node.table.delete(action.id)) node.banned.add(action.id);
        return;
      case "assign": {
        const taken = [...node.table.values()].some((entry) => entry.slots.some((s) => sameRange(s, action.slots)));
        if (node.masterId || taken || node.slots.some((s) => sameRange(s, action.slots))) return;
        // Whoever has them, or remembers anyone who had: even the dead keep theirs until a person has given them up.
        const trace = this.nodes.find(
          (n) =>
            n.copies.has(key(action.slots)) ||
            [...n.table.values()].some((e) => e.slots.some((s) => sameRange(s, action.slots))),
        );
        assert.ok(!trace, `slots from ${key(action.slots)} are given out twice: ${trace?.name} has or remembers them`);
        this.given.add(key(action.slots));
        node.slots = [...node.slots, action.slots];
        node.epoch = ++this.#epoch;
        node.copies.add(key(action.slots));
        return;
      }
      case "replicate": {
        const target = node.table.get(action.masterId);
        if (!target || target.masterId || (!node.masterId && (node.slots.length > 0 || node.copies.size > 0))) return;
        // Told of the same master again, it goes on where it was.
        if (node.masterId !== action.masterId) node.copies.clear();
        this.#follow(node, action.masterId);
        return;
      }
      case "failover": {
        const master = this.live(node.masterId);
        if (!master || !node.table.get(master.id)?.connected) return;
        this.#promote(node, node.table.get(master.id)!);
        master.slots = [];
        this.#follow(master, node.id);
        return;
      }
      case "bump":
        node.epoch = ++this.#epoch;
        return;
      case "takeover": {
        const entry = node.table.get(node.masterId ?? "");
        assert.ok(
          !this.nodes.some(({ id }) => id === node.masterId),
          "a master that may return is deposed without a vote",
        );
        if (entry) this.#promote(node, entry);
        return;
      }
    }
  }

  /** Shares of which some node, up or down, has all data. */
  #safeShares(): Set<number> {
    return new Set([...this.given].filter((share) => this.nodes.some((node) => node.copies.has(share))));
  }

  // What must hold.

  get lost(): boolean {
    return this.#safeShares().size < this.given.size;
  }

  /** Why the cluster is not as desired; empty when it is. */
  flaws(spread: boolean): string[] {
    const owners = this.nodes.filter((node) => node.slots.length > 0);
    const flaws: string[] = [];
    const total = owners.reduce((sum, node) => sum + slotCount(node.slots), 0);
    if (total !== SLOTS || owners.length !== this.masters) flaws.push(`${owners.length} masters with ${total} slots`);
    for (const range of shares(this.masters)) {
      if (owners.filter((node) => node.slots.some((s) => sameRange(s, range))).length !== 1)
        flaws.push(`slots from ${key(range)}: not one owner`);
    }
    const perMaster = owners.map((node) => this.nodes.filter((other) => other.masterId === node.id).length);
    if (Math.max(...perMaster) - Math.min(...perMaster) > 1) flaws.push(`replicas: ${perMaster.join(" ")}`);
    for (const node of this.nodes) {
      const master = this.nodes.find((other) => other.id === node.masterId);
      if (node.slots.length === 0 && !master?.slots.length) flaws.push(`${node.name} has no place`);
      if (spread && master && master.machine === node.machine) flaws.push(`${node.name} is on its master's machine`);
      if (master && node.masterAt?.ip !== master.address.ip) flaws.push(`${node.name} looks for its master elsewhere`);
      if (node.table.size !== this.nodes.length - 1) flaws.push(`${node.name} knows ${node.table.size}`);
    }
    return flaws;
  }
}

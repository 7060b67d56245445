import { sameAddress, SLOTS, slotCount, type NodeView, type Peer } from "./redis-nodes.ts";

/** One expected node, as far as it could be seen. */
export interface NodeObservation {
  /** Name by which it announces itself; it outlives addresses, ids and volumes. */
  readonly name: string;
  /** The machine (Kubernetes node) it runs on; undefined when not known. */
  readonly machine: string | undefined;
  /** What it said; undefined when it could not be reached or is still loading its data. */
  readonly view: NodeView | undefined;
  /** Why there is no view. */
  readonly reason?: string | undefined;
}

/** A node that answered. */
export interface Live {
  readonly name: string;
  readonly machine: string | undefined;
  readonly id: string;
  readonly view: NodeView;
}

/** An id that nobody answers to, but that live nodes tell of. */
export interface Absent {
  readonly id: string;
  /** Host name it announced, as far as anyone heard it. */
  readonly hostname: string;
  /** Who tells of it, and what. */
  readonly told: readonly { readonly by: Live; readonly peer: Peer }[];
  /** `replaced`: the pod of its name lives under another id, so this one never returns. `unknown`: all expected nodes
   *  are there and it is none of them. `away`: it may come back, or is none of ours. */
  readonly fate: "replaced" | "unknown" | "away";
  /** Nobody who tells of it is in contact with it. */
  readonly silent: boolean;
  readonly ownsSlots: boolean;
}

/** All that was seen at one moment, put in order. */
export interface World {
  readonly live: readonly Live[];
  readonly byId: ReadonlyMap<string, Live>;
  readonly absent: readonly Absent[];
  readonly missing: readonly NodeObservation[];
  /** Id of the owner of each slot; undefined for none. */
  readonly owner: readonly (string | undefined)[];
  /** Slots of which no one says that anyone has them. */
  readonly unclaimed: number;
  /** Slots that two live nodes both call their own; passes once they talk to each other. */
  readonly contested: number;
}

/** Puts observations in order. */
export function worldOf(nodes: readonly NodeObservation[]): World {
  const live: Live[] = [];
  for (const { name, machine, view } of nodes) if (view) live.push({ name, machine, view, id: view.self.id });
  const byId = new Map(live.map((node) => [node.id, node]));
  const missing = nodes.filter((node) => node.view === undefined);
  const { owner, unclaimed, contested } = slotsOf(live, byId);
  return { live, byId, absent: absentOf(live, byId, missing.length === 0), missing, owner, unclaimed, contested };
}

function slotsOf(live: readonly Live[], byId: ReadonlyMap<string, Live>) {
  const owner = new Array<string | undefined>(SLOTS).fill(undefined);
  const rumoured = new Uint8Array(SLOTS);
  const contestedSlots = new Uint8Array(SLOTS);
  for (const { view } of live) {
    for (const slot of each(view.self)) {
      if (owner[slot] !== undefined) contestedSlots[slot] = 1;
      owner[slot] = view.self.id;
    }
  }
  // What a live node says of itself counts more than what others say of anyone.
  for (const { view } of live) {
    for (const peer of view.peers) {
      for (const slot of each(peer)) {
        rumoured[slot] = 1;
        if (owner[slot] === undefined && !byId.has(peer.id)) owner[slot] = peer.id;
      }
    }
  }
  const unclaimed = owner.filter((id, slot) => id === undefined && rumoured[slot] === 0).length;
  return { owner, unclaimed, contested: contestedSlots.reduce((sum, one) => sum + one, 0) };
}

function* each(peer: Peer): Generator<number> {
  for (const [first, last] of peer.slots) for (let slot = first; slot <= last; slot++) yield slot;
}

function absentOf(live: readonly Live[], byId: ReadonlyMap<string, Live>, allHere: boolean): Absent[] {
  const told = new Map<string, { by: Live; peer: Peer }[]>();
  for (const by of live) {
    for (const peer of by.view.peers) {
      if (byId.has(peer.id) || peer.handshake) continue;
      told.set(peer.id, [...(told.get(peer.id) ?? []), { by, peer }]);
    }
  }
  const names = new Set(live.map((node) => node.name));
  return [...told].map(([id, tellers]) => {
    const hostname = tellers.find(({ peer }) => peer.hostname !== "")?.peer.hostname ?? "";
    const silent = tellers.every(({ peer }) => peer.failed || peer.suspect || peer.noAddress);
    const givenUp = silent && tellers.some(({ peer }) => peer.failed || peer.noAddress);
    const fate =
      silent && names.has(hostname) ? "replaced" : givenUp && hostname === "" && allHere ? "unknown" : "away";
    return { id, hostname, told: tellers, fate, silent, ownsSlots: tellers.some(({ peer }) => peer.slots.length > 0) };
  });
}

/** Whether a node has anything to lose or to claim: slots, keys, or a master. */
export function hasData({ view }: Live): boolean {
  return view.self.role === "replica" || view.keys > 0 || view.self.slots.length > 0;
}

/** A master without slots and keys: fresh, or emptied. */
export function isBlank(node: Live): boolean {
  return !hasData(node);
}

export function ownsSlots({ view }: Live): boolean {
  return slotCount(view.self.slots) > 0;
}

/** Whether `a` knows `b` under its id and at its address. */
export function knows(a: Live, b: Live): boolean {
  const peer = a.view.peers.find(({ id }) => id === b.id);
  return peer !== undefined && !peer.handshake && !peer.noAddress && sameAddress(peer.address, b.view.self.address);
}

/** Live nodes in groups of those that have heard of one another, directly or through a third one. */
export function groupsOf(world: World): Live[][] {
  const parent = new Map<string, string>();
  const root = (id: string): string => {
    const up = parent.get(id) ?? id;
    return up === id ? id : root(up);
  };
  for (const node of world.live) {
    for (const peer of node.view.peers) if (!peer.handshake) parent.set(root(peer.id), root(node.id));
  }
  const groups = new Map<string, Live[]>();
  for (const node of world.live) groups.set(root(node.id), [...(groups.get(root(node.id)) ?? []), node]);
  return [...groups.values()];
}

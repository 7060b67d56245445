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
  /** Its name answers under another id: whoever still tells of it has only not noticed yet. */
  readonly superseded: boolean;
  /** `replaced`: superseded, and everyone has noticed its silence. `unknown`: given up, and all expected nodes are there
   *  and it is none of them. `away`: it may come back, or is none of ours, or has not been missed yet. */
  readonly fate: "replaced" | "unknown" | "away";
  /** Nobody who tells of it is in contact with it. */
  readonly silent: boolean;
  /** Slots that no live node calls its own are said to be its. */
  readonly ownsSlots: boolean;
}

/** Slots in a row with one owner: its id, or undefined for none. */
export interface Stretch {
  readonly first: number;
  readonly last: number;
  readonly owner: string | undefined;
}

/** All that was seen at one moment, put in order. */
export interface World {
  readonly live: readonly Live[];
  readonly byId: ReadonlyMap<string, Live>;
  readonly absent: readonly Absent[];
  readonly missing: readonly NodeObservation[];
  /** All slots in order, in stretches of one owner each. */
  readonly stretches: readonly Stretch[];
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
  const slots = slotsOf(live, byId);
  const owners = new Set(slots.stretches.map(({ owner }) => owner));
  return { live, byId, absent: absentOf(live, byId, owners, missing.length === 0), missing, ...slots };
}

/** Whose every slot is. What a live node says of itself counts more than what others say of anyone. */
function slotsOf(live: readonly Live[], byId: ReadonlyMap<string, Live>) {
  const own = claimsOf(live.map(({ view }) => view.self));
  const told = claimsOf(live.flatMap(({ view }) => view.peers));
  // Between two neighbouring bounds all slots are alike.
  const bounds = new Set([0, SLOTS]);
  for (const { first, last } of [...own, ...told]) bounds.add(first).add(last + 1);
  const points = [...bounds].sort((a, b) => a - b);
  const stretches: Stretch[] = [];
  let unclaimed = 0;
  let contested = 0;
  for (const [i, first] of points.slice(0, -1).entries()) {
    const last = points[i + 1]! - 1;
    const covers = (claim: Stretch) => claim.first <= first && claim.last >= last;
    const owners = own.filter(covers);
    const rumours = told.filter(covers);
    const owner = (owners[0] ?? rumours.find((claim) => !byId.has(claim.owner!)))?.owner;
    if (owners.length > 1) contested += last - first + 1;
    if (owners.length === 0 && rumours.length === 0) unclaimed += last - first + 1;
    stretches.push({ first, last, owner });
  }
  return { stretches, unclaimed, contested };
}

function claimsOf(peers: readonly Peer[]): Stretch[] {
  return peers.flatMap(({ id, slots }) => slots.map(([first, last]) => ({ first, last, owner: id })));
}

function absentOf(
  live: readonly Live[],
  byId: ReadonlyMap<string, Live>,
  owners: ReadonlySet<string | undefined>,
  allHere: boolean,
): Absent[] {
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
    const superseded = names.has(hostname);
    const fate = silent && superseded ? "replaced" : givenUp && hostname === "" && allHere ? "unknown" : "away";
    return { id, hostname, told: tellers, superseded, fate, silent, ownsSlots: owners.has(id) };
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

/** A master with keys but no slots: whose keys these are is not known. */
export function isStray(node: Live): boolean {
  return node.view.self.role === "master" && node.view.keys > 0 && !ownsSlots(node);
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

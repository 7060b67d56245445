import { slotCount, type NodeAddress, type SlotRange } from "./redis-nodes.ts";
import { assignReplicas, chooseSpread, shares, type PlacedReplica } from "./redis-placement.ts";
import {
  groupsOf,
  hasData,
  isBlank,
  isStray,
  knows,
  ownsSlots,
  worldOf,
  type Live,
  type NodeObservation,
  type World,
} from "./redis-world.ts";

/** What the cluster should be. */
export interface Desired {
  /** Masters with slots. */
  readonly masters: number;
  /** Whether machines matter: a replica never stands on its master's machine, and masters are spread. */
  readonly spread: boolean;
}

export interface Observation {
  /** Every expected node, in the order of their names. */
  readonly nodes: readonly NodeObservation[];
  /** Whether nothing has changed for a while, so that what is only better, and not needed, may be done. */
  readonly settled: boolean;
}

/** One command to one node (`at`: its name), and why. */
export type Action = { readonly at: string; readonly cause: string } & (
  | { readonly kind: "meet"; readonly address: NodeAddress }
  | { readonly kind: "forget"; readonly id: string }
  | { readonly kind: "assign"; readonly slots: SlotRange }
  | { readonly kind: "replicate"; readonly masterId: string }
  | { readonly kind: "failover" }
  | { readonly kind: "takeover" }
);

/** What is not as it should be, and what no action of ours (or only time) mends. */
export interface Problem {
  readonly kind:
    | "node-away"
    | "same-id"
    | "separate-clusters"
    | "waiting-to-form"
    | "slots-unassigned"
    | "slots-contested"
    | "keys-without-slots"
    | "placement-unknown"
    | "failover-pending"
    | "shard-down"
    | "shard-lost";
  /** The one node it is about, where it is about one; kind and subject together tell problems apart. */
  readonly subject?: string;
  readonly message: string;
}

export interface Plan {
  readonly actions: readonly Action[];
  readonly problems: readonly Problem[];
}

/** Decides what to do next for the cluster to become, or to stay, as desired. Pure; asked again after every look, it
 *  needs no memory: an interrupted creation or repair is simply seen as the state it left behind.
 *
 *  It acts on data in three ways only: a replica in contact with its living master is given to another master, a master
 *  hands its slots over to a replica without loss, and a replica takes over without a vote where those who should vote
 *  are gone for good. Slots are given out only where all expected nodes are there,
 *  know each other and no one, of all they have ever heard, has had them. */
export function plan(desired: Desired, { nodes, settled }: Observation): Plan {
  const world = worldOf(nodes);
  const problems: Problem[] = world.missing.map((node) => ({
    kind: "node-away",
    subject: node.name,
    message: `${node.name} does not answer: ${node.reason ?? "no reason known"}`,
  }));
  const done = (actions: Action[]): Plan => ({ actions, problems });

  if (world.byId.size < world.live.length) {
    problems.push({
      kind: "same-id",
      message:
        "two nodes have the same id, as if one's volume were a copy of the other's; empty one of the two volumes",
    });
    return done([]);
  }
  const withData = groupsOf(world).filter((group) => group.some(hasData));
  if (withData.length > 1) {
    const names = withData.map((group) => group.map((node) => node.name).join(", ")).join(" and ");
    problems.push({
      kind: "separate-clusters",
      message: `${names} have never heard of each other and both hold data: nothing is joined; empty the volumes of those that do not belong here`,
    });
    return done([]);
  }

  const repairs = [...forgets(world), ...introductions(world)];
  if (world.unclaimed > 0) {
    lostOwners(world, problems);
    repairs.push(...adoptions(world));
    return done([...repairs, ...creation(desired, world, problems, repairs.length > 0)]);
  }
  const pending = lostOwners(world, problems);
  repairs.push(...takeovers(world));
  if (world.contested > 0) {
    problems.push({
      kind: "slots-contested",
      message: `${world.contested} slots have two owners that have not met yet`,
    });
    return done(repairs);
  }
  if (!pending) repairs.push(...attachments(desired, world, problems));
  if (repairs.length > 0 || pending) return done(repairs);
  const move = moves(desired, world, settled);
  if (move) return done([move]);
  const handover = settled ? spreadMasters(desired, world) : undefined;
  return done(handover ? [handover] : []);
}

/** Ids that never return and own nothing are forgotten by everyone at once: those left out would spread them again. */
function forgets(world: World): Action[] {
  return world.absent
    .filter(({ fate, ownsSlots }) => fate !== "away" && !ownsSlots)
    .flatMap(({ id, fate, hostname, told }) =>
      told
        // A node never forgets its master: it is first given another one.
        .filter(({ by }) => by.view.self.masterId !== id)
        .map(({ by }): Action => ({
          kind: "forget",
          at: by.name,
          id,
          cause: fate === "replaced" ? `${hostname} has another id now` : "none of the expected nodes has this id",
        })),
    );
}

/** Everyone is introduced to everyone whom it does not know, or knows by an address that is no longer true. */
function introductions({ live }: World): Action[] {
  const result: Action[] = [];
  for (const [i, a] of live.entries()) {
    for (const b of live.slice(i + 1)) {
      if (knows(a, b) && knows(b, a)) continue;
      const [from, to] = a.view.peers.length >= b.view.peers.length ? [a, b] : [b, a];
      const { address } = to.view.self;
      if (address.ip === "") continue;
      result.push({ kind: "meet", at: from.name, address, cause: `${from.name} and ${to.name} are not in contact` });
    }
  }
  return result;
}

/** In a cluster that is being made, a replica whose master has lost its volume before it was heard of: it follows any
 *  other one, so that the dead one can be forgotten. */
function adoptions(world: World): Action[] {
  const masters = world.live.filter((node) => node.view.self.role === "master");
  return world.live
    .filter((node) => isOrphan(node, world))
    .flatMap((node): Action[] => {
      const master =
        masters.find((one) => ownsSlots(one) && knows(node, one)) ?? masters.find((one) => knows(node, one));
      if (!master) return [];
      return [
        {
          kind: "replicate",
          at: node.name,
          masterId: master.id,
          cause: `the master of ${node.name} is gone for good and had no slots`,
        },
      ];
    });
}

/** Gives out the slots that nobody has ever had: all of them at first, or what an interrupted creation left over. */
function creation(desired: Desired, world: World, problems: Problem[], busy: boolean): Action[] {
  const wait = (message: string, kind: Problem["kind"] = "waiting-to-form") => {
    problems.push({ kind, message });
    return [];
  };
  if (world.missing.length > 0) return wait("slots are given out once every expected node answers");
  if (busy) return wait("slots are given out once all nodes know each other");
  if (world.absent.length > 0) {
    const names = world.absent.map(({ id, hostname }) => hostname || id).join(", ");
    return wait(`slots are given out once nobody tells of nodes that are not here: ${names}`);
  }
  const stray = world.live.filter(isStray);
  if (stray.length > 0) {
    const names = stray.map((node) => node.name).join(", ");
    return wait(
      `${names}: holds keys but no slots; nothing is given out while whose they are is not known`,
      "keys-without-slots",
    );
  }
  if (desired.spread && world.live.some((node) => node.machine === undefined)) {
    return wait("slots are given out once it is known on which machine each node runs", "placement-unknown");
  }
  const owners = world.live.filter(ownsSlots);
  const open: SlotRange[] = [];
  let given = 0;
  for (const [first, last] of shares(desired.masters)) {
    const within = world.stretches.filter((stretch) => stretch.first <= last && stretch.last >= first);
    const holders = new Set(within.map(({ owner }) => owner));
    if (holders.size !== 1) return wait(irregular(world.unclaimed), "slots-unassigned");
    if (holders.has(undefined)) open.push([first, last]);
    else given += last - first + 1;
  }
  if (given !== owners.reduce((sum, node) => sum + slotCount(node.view.self.slots), 0)) {
    return wait(irregular(world.unclaimed), "slots-unassigned");
  }
  const chosen = chooseSpread(world.live.filter(isBlank), open.length, owners);
  if (chosen.length < open.length) return wait(irregular(world.unclaimed), "slots-unassigned");
  return chosen.map((node, i) => ({
    kind: "assign",
    at: node.name,
    slots: open[i]!,
    cause: owners.length === 0 ? "the cluster is made" : "the making of the cluster goes on",
  }));
}

function irregular(count: number): string {
  return `${count} slots belong to nobody, and the others are not laid out as at the creation: give them out by hand (docs/redis.md)`;
}

/** Reports slots whose owner is not there.
 *  @returns whether a replica of such an owner is there, whose election must not be disturbed */
function lostOwners(world: World, problems: Problem[]): boolean {
  let pending = false;
  for (const { id, hostname, fate, ownsSlots: owner, silent, told } of world.absent) {
    if (!owner) continue;
    const name = hostname || id;
    const heirs = world.live.filter((node) => node.view.self.masterId === id).map((node) => node.name);
    const absentHeirs = world.absent.filter(
      (other) => other.fate === "away" && other.told.some(({ peer }) => peer.masterId === id),
    );
    if (heirs.length > 0) {
      pending = true;
      const given = told.some(({ peer }) => peer.failed) ? "its replica is to be elected" : "not yet given up";
      problems.push({
        kind: "failover-pending",
        subject: name,
        message: `master ${name} is gone, ${given}: ${heirs.join(", ")}`,
      });
    } else if (!silent) {
      // Others are in contact with it: out of our sight only, or a master of another region.
      continue;
    } else if (fate === "away" || absentHeirs.length > 0) {
      const names = [...(fate === "away" ? [name] : []), ...absentHeirs.map((other) => other.hostname || other.id)];
      problems.push({
        kind: "shard-down",
        subject: name,
        message: `the slots of ${name} are not served until one of these is back: ${names.join(", ")}`,
      });
    } else {
      problems.push({
        kind: "shard-lost",
        subject: id,
        message: `master ${name} and all its replicas are gone for good, and the data of its slots with them; nothing is done about it without a person (docs/redis.md)`,
      });
    }
  }
  return pending;
}

/** A replica is elected by the majority of the masters. Where so many of them have lost their volumes that none can ever
 *  come together again, the replica of such a one takes over without a vote. That is safe, as its master cannot be alive
 *  somewhere unseen: its name answers under another id, and Kubernetes runs one pod of a name at a time. One at once: each
 *  that has taken over may vote, and Redis then elects the next by itself. */
function takeovers(world: World): Action[] {
  const owners = new Set(world.stretches.map(({ owner }) => owner));
  const gone = world.absent.filter(({ ownsSlots, fate }) => ownsSlots && fate === "replaced");
  if (gone.length < owners.size / 2) return [];
  const heirs = world.live.filter((node) => gone.some(({ id }) => id === node.view.self.masterId));
  const best = heirs.reduce<Live | undefined>((a, b) => (a && a.view.offset >= b.view.offset ? a : b), undefined);
  if (!best) return [];
  const cause = `${gone.length} of ${owners.size} masters lost their volumes, so none of their replicas can be elected`;
  return [{ kind: "takeover", at: best.name, cause }];
}

/** Nodes without a place in the cluster become replicas where they are most needed. */
function attachments(desired: Desired, world: World, problems: Problem[]): Action[] {
  const masters = world.live.filter(ownsSlots);
  for (const node of world.live.filter(isStray)) {
    problems.push({
      kind: "keys-without-slots",
      subject: node.name,
      message: `${node.name} holds ${node.view.keys} keys but no slots: it is left alone (docs/redis.md)`,
    });
  }
  const free = world.live.filter((node) => isBlank(node) || isOrphan(node, world));
  // A lost shard is given out anew, once a person has given it up, to a node that is still empty then.
  if (free.length === 0 || problems.some(({ kind }) => kind === "shard-lost")) return [];
  if (desired.spread && [...masters, ...free].some((node) => node.machine === undefined)) {
    problems.push({
      kind: "placement-unknown",
      message: "replicas are given a master once it is known on which machine each node runs",
    });
    return [];
  }
  const fresh = free.map((node) => ({ ...placed(desired, node), masterId: undefined, fixed: false }));
  const target = assignReplicas(
    masters.map((node) => placed(desired, node)),
    [...settledReplicas(desired, world, () => true), ...fresh],
  );
  return free.flatMap((node): Action[] => {
    const master = world.byId.get(target.get(node.id) ?? "");
    if (!master || !knows(node, master)) return [];
    return [
      {
        kind: "replicate",
        at: node.name,
        masterId: master.id,
        cause: `${node.name} is empty, and ${master.name} has the fewest replicas`,
      },
    ];
  });
}

/** A replica, without a single key, of a master that never returns and owned nothing. */
function isOrphan({ view }: Live, world: World): boolean {
  const master = world.absent.find(({ id }) => id === view.self.masterId);
  return view.keys === 0 && master !== undefined && master.fate !== "away" && !master.ownsSlots;
}

/** Gives a replica to another master where that has none, or stands on another machine. One at a time: its copy is made
 *  anew, and until then its new master has no other. */
function moves(desired: Desired, world: World, settled: boolean): Action | undefined {
  const masters = world.live.filter(ownsSlots);
  const replicas = world.live.filter((node) => node.view.self.role === "replica");
  if (!replicas.every((node) => node.view.inSync && world.byId.has(node.view.self.masterId ?? ""))) return undefined;
  if (world.absent.some((other) => other.ownsSlots)) return undefined;
  if (desired.spread && world.live.some((node) => node.machine === undefined)) return undefined;
  const current = settledReplicas(desired, world, (node) => node === undefined);
  const bare = new Set(
    masters.map((node) => node.id).filter((id) => !current.some((replica) => replica.masterId === id)),
  );
  const improve = settled && world.missing.length === 0;
  if (bare.size === 0 && !improve) return undefined;
  const target = assignReplicas(
    masters.map((node) => placed(desired, node)),
    current,
  );
  const wanted = replicas.filter((node) => target.get(node.id) !== node.view.self.masterId);
  const next = wanted.find((node) => bare.has(target.get(node.id) ?? "")) ?? (improve ? wanted[0] : undefined);
  const master = next && world.byId.get(target.get(next.id) ?? "");
  if (!next || !master || !knows(next, master)) return undefined;
  const cause = bare.has(master.id)
    ? `${master.name} has no replica`
    : `no replica is to be on its master's machine, nor one master to have more than its share of them`;
  return { kind: "replicate", at: next.name, masterId: master.id, cause };
}

/** Replicas that have a master, those that are away for a while included: they keep their place. */
function settledReplicas(desired: Desired, world: World, fixed: (node: Live | undefined) => boolean): PlacedReplica[] {
  const live = world.live
    .filter((node) => node.view.self.role === "replica" && !isOrphan(node, world))
    .map((node) => ({ ...placed(desired, node), masterId: node.view.self.masterId, fixed: fixed(node) }));
  const away = world.absent
    .filter(({ fate, told }) => fate === "away" && told.some(({ peer }) => peer.role === "replica"))
    .map(({ id, told }) => ({
      id,
      machine: undefined,
      masterId: told.find(({ peer }) => peer.masterId)?.peer.masterId,
      fixed: true,
    }));
  return [...live, ...away].filter(({ masterId }) => masterId !== undefined);
}

function placed(desired: Desired, { id, machine }: Live) {
  return { id, machine: desired.spread ? machine : undefined };
}

/** Hands a master's slots to its replica on a machine with at least two masters fewer: a machine lost then takes the
 *  fewest masters with it, and the majority of them lives to elect. */
function spreadMasters(desired: Desired, world: World): Action | undefined {
  if (!desired.spread || world.missing.length > 0 || world.live.some((node) => node.machine === undefined))
    return undefined;
  const load = new Map<string, number>();
  for (const node of world.live.filter(ownsSlots)) load.set(node.machine!, (load.get(node.machine!) ?? 0) + 1);
  const loadOf = (node: Live) => load.get(node.machine!) ?? 0;
  for (const replica of world.live.filter((node) => node.view.self.role === "replica" && node.view.inSync)) {
    const master = world.byId.get(replica.view.self.masterId ?? "");
    if (!master || !knows(replica, master) || loadOf(master) - loadOf(replica) < 2) continue;
    return {
      kind: "failover",
      at: replica.name,
      cause: `${master.machine} has ${loadOf(master)} masters, ${replica.machine} has ${loadOf(replica)}`,
    };
  }
  return undefined;
}

/** What must stay the same for a while before improvements are due. */
export function fingerprint(nodes: readonly NodeObservation[]): string {
  return JSON.stringify(
    nodes.map(({ name, machine, view }) => [
      name,
      machine,
      view && [view.self.id, view.self.masterId, view.self.slots, view.inSync, view.self.address.ip],
    ]),
  );
}

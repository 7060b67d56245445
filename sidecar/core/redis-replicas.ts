import { assignReplicas, type PlacedReplica } from "./redis-placement.ts";
import type { Action, Desired, Problem } from "./redis-topology.ts";
import { isBlank, isStray, knows, ownsSlots, type Live, type World } from "./redis-world.ts";

/** In a cluster that is being made, a replica whose master has lost its volume before it was heard of: it follows any
 *  other one, so that the dead one can be forgotten. */
export function adoptions(world: World): Action[] {
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

/** Nodes without a place in the cluster become replicas where they are most needed. */
export function attachments(desired: Desired, world: World, problems: Problem[]): Action[] {
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
export function moves(desired: Desired, world: World, settled: boolean): Action | undefined {
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
  // One whose name answers under another id is gone, long before the others have noticed its silence.
  const away = world.absent
    .filter(({ fate, superseded }) => fate === "away" && !superseded)
    .filter(({ told }) => told.some(({ peer }) => peer.role === "replica"))
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
export function spreadMasters(desired: Desired, world: World): Action | undefined {
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

import { creation } from "./redis-creation.ts";
import type { NodeAddress, SlotRange } from "./redis-nodes.ts";
import { bumps, forgets, introductions, lostOwners, redirections, takeovers } from "./redis-repairs.ts";
import { adoptions, attachments, moves, spreadMasters } from "./redis-replicas.ts";
import { groupsOf, hasData, worldOf, type NodeObservation } from "./redis-world.ts";

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
  | { readonly kind: "bump" }
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
 *  are gone for good. (A replica that is told of the same master again keeps its data.) Slots are given out only where
 *  all expected nodes are there, know each other, and no one, of all they have ever heard, has had them. */
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

  const repairs = [...forgets(world), ...introductions(world), ...redirections(world)];
  if (world.unclaimed > 0) {
    lostOwners(world, problems);
    repairs.push(...adoptions(world));
    return done([...repairs, ...creation(desired, world, problems, repairs.length > 0)]);
  }
  const pending = lostOwners(world, problems);
  repairs.push(...takeovers(world), ...bumps(world));
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

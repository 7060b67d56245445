import { slotCount, type SlotRange } from "./redis-nodes.ts";
import { chooseSpread, shares } from "./redis-placement.ts";
import type { Action, Desired, Problem } from "./redis-topology.ts";
import { isBlank, isStray, ownsSlots, type World } from "./redis-world.ts";

/** Gives out the slots that nobody has ever had: all of them at first, or what an interrupted creation left over. */
export function creation(desired: Desired, world: World, problems: Problem[], busy: boolean): Action[] {
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

import type { Action, Problem } from "./redis-topology.ts";
import { knows, ownsSlots, type Absent, type Live, type World } from "./redis-world.ts";

/** Ids that never return and own nothing are forgotten by everyone at once: those left out would spread them again. */
export function forgets(world: World): Action[] {
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
export function introductions({ live }: World): Action[] {
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

/** A replica that looks for its master at a former address of it is told once more whose replica it is, and with that
 *  where that one is. A new address that comes in a greeting of the master's own reaches Redis' replication too; one that
 *  comes by hearsay, in the gossip of a third node, changes the table alone, and no later greeting differs from that. The
 *  replica would ask at the old address for ever, which may be another master's by now. What it has of the data is kept. */
export function redirections({ live, byId }: World): Action[] {
  return live.flatMap((node): Action[] => {
    const { masterAt, self } = node.view;
    const master = byId.get(self.masterId ?? "");
    // An address that is not known yet is for an introduction to tell.
    if (!masterAt || !master || master.view.self.role !== "master" || !knows(node, master)) return [];
    const { ip, port } = master.view.self.address;
    if (masterAt.ip === ip && masterAt.port === port) return [];
    const cause = `${node.name} looks for its master ${master.name} at ${masterAt.ip}:${masterAt.port}, and it is at ${ip}:${port}`;
    return [{ kind: "replicate", at: node.name, masterId: master.id, cause }];
  });
}

/** Reports slots whose owner is not there.
 *  @returns whether it is not yet decided what becomes of one of them, and nodes are better left as they are */
export function lostOwners(world: World, problems: Problem[]): boolean {
  let pending = false;
  for (const { id, hostname, superseded, fate, ownsSlots: owner, silent, told } of world.absent) {
    if (!owner) continue;
    const name = hostname || id;
    const heirs = world.live.filter((node) => node.view.self.masterId === id).map((node) => node.name);
    const absentHeirs = world.absent.filter(
      (other) => other.fate === "away" && !other.superseded && other.told.some(({ peer }) => peer.masterId === id),
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
      // Others are in contact with it: out of our sight only, or a master of another region. Or they have not noticed yet
      // that its name answers under another id: empty nodes are then kept until it is clear what is lost.
      pending ||= superseded;
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
 *  come together again, or where the others refuse their votes for ever (see `bumps`), the replica of one whose volume is
 *  lost takes over without a vote. That is safe, as its master cannot be alive somewhere unseen: its name answers under
 *  another id, and Kubernetes runs one pod of a name at a time. One at once: each that has taken over may vote, and Redis
 *  then elects the next by itself. */
export function takeovers(world: World): Action[] {
  const owners = new Set(world.stretches.map(({ owner }) => owner));
  const gone = world.absent.filter(({ ownsSlots, fate }) => ownsSlots && fate === "replaced");
  const noMajority = gone.length >= owners.size / 2;
  const heirs = world.live.filter((node) => {
    const master = gone.find(({ id }) => id === node.view.self.masterId);
    return master !== undefined && (noMajority || isOutdated(node, master));
  });
  const best = heirs.reduce<Live | undefined>((a, b) => (a && a.view.offset >= b.view.offset ? a : b), undefined);
  if (!best) return [];
  const cause = noMajority
    ? `${gone.length} of ${owners.size} masters lost their volumes, so none of their replicas can be elected`
    : "its master lost its volume, and the others take its slots' epoch for outdated and refuse their votes";
  return [{ kind: "takeover", at: best.name, cause }];
}

/** Whether others believe a newer epoch of a dead master than its replica does: they then never vote for it. */
function isOutdated(replica: Live, { told }: Absent): boolean {
  const epochs = told.map(({ by, peer }) => ({ by, epoch: peer.configEpoch }));
  const own = epochs.find(({ by }) => by === replica)?.epoch ?? 0;
  return epochs.some(({ by, epoch }) => ownsSlots(by) && epoch > own);
}

/** A node that finds another one at a master's former address takes that one's epoch for the master's. No word of the
 *  master's own, lower one corrects that, and should the master die, its replica's lower epoch gets no vote. So the
 *  master takes a new one, higher than all. */
export function bumps({ live }: World): Action[] {
  return live.filter(ownsSlots).flatMap((master): Action[] => {
    const { configEpoch } = master.view.self;
    const wrong = live.find(({ view }) =>
      view.peers.some(({ id, handshake, configEpoch: told }) => id === master.id && !handshake && told > configEpoch),
    );
    if (!wrong) return [];
    return [
      { kind: "bump", at: master.name, cause: `${wrong.name} believes a newer epoch of ${master.name} than its own` },
    ];
  });
}

import { formatLsn, parseLsn } from "./lsn.ts";
import type { DatabaseStatus, Problem } from "./region-status.ts";

/** Where a timeline ended and the next one began: `[timeline, position]`, oldest first, as Patroni's `/history` has it. */
export type TimelineHistory = readonly (readonly [number, string])[];

/** What is known of another region's database. */
export interface PeerDatabase {
  readonly region: string;
  readonly database: DatabaseStatus;
  /** Undefined while it was not told. */
  readonly history: TimelineHistory | undefined;
}

export interface ConflictInput {
  readonly region: string;
  readonly own: DatabaseStatus;
  readonly peers: readonly PeerDatabase[];
  /** Slots that this region keeps for the others, by region. */
  readonly slots: Readonly<Record<string, string>>;
  /** Name of the slot that others keep for this region. */
  readonly ownSlot: string;
}

/** Data that went two ways, or is about to stop flowing. Only what both sides have told is judged. */
export function conflicts(input: ConflictInput): Problem[] {
  const { region, own, peers } = input;
  const problems: Problem[] = [];
  for (const { region: peer, database, history } of peers) {
    if (own.systemId !== undefined && database.systemId !== undefined && own.systemId !== database.systemId) {
      problems.push({
        kind: "different-system",
        subject: peer,
        message: `the databases of ${region} and ${peer} are not copies of each other (system identifiers ${own.systemId} and ${database.systemId}): one of them was made anew; decide which one holds, and rebuild the other from it`,
      });
      continue;
    }
    if (own.state === "primary" && database.state === "primary")
      problems.push({
        kind: "two-primaries",
        subject: peer,
        message: `the databases of ${region} and ${peer} are both primaries: stop the writes to the one that is not active`,
      });
    if (own.state === "standby" && own.source === peer) {
      const fork = forkOf(own, database, history);
      if (fork !== undefined)
        problems.push({
          kind: "timeline-forked",
          subject: peer,
          message: `${region} has changes that ${peer} does not have, and cannot follow it: ${fork}; rebuild ${region} from ${peer} once its own changes have been looked at`,
        });
    }
  }
  return [...problems, ...slotProblems(input)];
}

/** How a standby's history parts from its source's, in words; undefined when it does not. */
export function forkOf(
  own: DatabaseStatus,
  source: DatabaseStatus,
  history: TimelineHistory | undefined,
): string | undefined {
  if (own.timeline === undefined || source.timeline === undefined || own.lsn === undefined) return undefined;
  if (source.timeline < own.timeline)
    return `it is on timeline ${own.timeline}, its source on the older timeline ${source.timeline}`;
  if (source.timeline === own.timeline) return undefined;
  const end = history?.find(([timeline]) => timeline === own.timeline)?.[1];
  if (end === undefined || parseLsn(own.lsn) <= parseLsn(end)) return undefined;
  return `it has replayed timeline ${own.timeline} up to ${formatLsn(parseLsn(own.lsn))}, its source left that timeline at ${formatLsn(parseLsn(end))}`;
}

function slotProblems({ region, own, peers, slots, ownSlot }: ConflictInput): Problem[] {
  const problems: Problem[] = [];
  for (const [peer, slot] of Object.entries(slots)) {
    const found = own.slots.find(({ name }) => name === slot);
    if (found?.walStatus === "lost")
      problems.push({
        kind: "slot-lost",
        subject: peer,
        message: `the slot ${slot}, which ${region} keeps for ${peer}, has lost WAL that ${peer} had not received: ${peer} must be copied anew if it streams from here`,
      });
  }
  const source = peers.find((peer) => peer.region === own.source)?.database;
  if (own.state !== "standby" || own.streaming || !source || source.slots.length === 0) return problems;
  if (!source.slots.some(({ name }) => name === ownSlot))
    problems.push({
      kind: "slot-missing",
      subject: own.source!,
      message: `${own.source} has no slot ${ownSlot}, by which ${region} streams`,
    });
  return problems;
}

import { waitsFor, type BirthInput } from "../core/region-birth.ts";
import type { RegionConfig } from "../core/region-config.ts";
import { conflicts } from "../core/region-conflicts.ts";
import { secretProblems } from "../core/region-secrets.ts";
import { DATABASE_WAITS, type ActiveAnswer, type Problem, type WitnessMember } from "../core/region-status.ts";
import type { Activity } from "./activity.ts";
import type { Consistency } from "./consistency.ts";
import type { Database } from "./database.ts";
import type { Peers } from "./peers.ts";
import type { Replication } from "./replication.ts";

/** What the controller's parts know, for those who ask. */
export interface Knowledge {
  readonly config: RegionConfig;
  readonly activity: Activity;
  readonly database: Database;
  readonly peers: Peers;
  readonly replication: Replication;
  readonly consistency: Consistency;
  readonly members: readonly WitnessMember[];
  readonly fingerprints: Readonly<Record<string, string>>;
}

/** Everything that is wrong, each once. */
export function allProblems(known: Knowledge): Problem[] {
  const { activity, database, peers, replication, consistency, fingerprints } = known;
  const { region, regions } = known.config;
  const told = peers.names.flatMap((name) => {
    const status = peers.status(name);
    return status ? [{ name, status }] : [];
  });
  const found: Problem[] = [
    ...activity.problems,
    ...conflicts({
      region,
      own: database.last.status,
      peers: told.map(({ name, status }) => ({
        region: name,
        database: status.database,
        history: replication.historyOf(name),
      })),
      slots: Object.fromEntries(peers.names.map((name) => [name, regions[name]!.slot])),
      ownSlot: regions[region]!.slot,
    }),
    ...secretProblems(
      region,
      fingerprints,
      Object.fromEntries(told.map(({ name, status }) => [name, status.fingerprints])),
    ),
    ...consistency.problems,
    ...witnessProblems(known),
    ...databaseProblems(known),
  ];
  return found.filter(
    ({ kind, subject }, i) => found.findIndex((other) => other.kind === kind && other.subject === subject) === i,
  );
}

function databaseProblems(known: Knowledge): Problem[] {
  const { config, database } = known;
  const { trouble, leaderUrl, exists } = database.last;
  if (trouble === undefined || !database.looked) return [];
  // An empty volume and a database that is down look alike from here; what a pod would be told is what can be said.
  const waits = exists ? undefined : waitsFor(birthInput(known));
  if (waits !== undefined) return [{ kind: DATABASE_WAITS, subject: config.region, message: waits }];
  const kind = leaderUrl === undefined ? "database-down" : "database-unreadable";
  return [{ kind, subject: config.region, message: trouble }];
}

function witnessProblems({ config, activity, members }: Knowledge): Problem[] {
  const { lastError } = activity;
  if (!activity.reachable && lastError !== undefined)
    return [{ kind: "witness-unreachable", subject: config.region, message: lastError }];
  return members
    .filter(({ healthy }) => !healthy)
    .map(({ region }) => ({
      kind: "witness-member-down",
      subject: region,
      message: `the witness' member of ${region} does not answer, or has no leader`,
    }));
}

/** What the edge follows. While nobody is active it is still told the edge of the region that was last, as DNS is. */
export function activeAnswer({ config, activity }: Knowledge): ActiveAnswer {
  const { named } = activity;
  return {
    region: config.region,
    active: activity.active,
    ageMillis: activity.ageMillis,
    edge: named === undefined ? undefined : config.regions[named]?.edge,
  };
}

/** What the decision on an empty database rests on. */
export function birthInput({ config, activity, database, peers }: Knowledge): BirthInput {
  const { region, regions, links } = config;
  const { exists, isStandbyCluster, source } = database.last;
  const slot = regions[region]!.slot;
  return {
    region,
    informed: database.looked && peers.allAsked,
    regions: Object.fromEntries(
      Object.entries(regions).map(([name, { priority, initiallyActive, postgres }]) => [
        name,
        { priority, initiallyActive, source: { host: postgres.host, port: postgres.port, slot } },
      ]),
    ),
    links,
    // What has a database but no configuration yet is not known to be either, and is decided like an empty one.
    cluster:
      !exists || isStandbyCluster === undefined
        ? undefined
        : isStandbyCluster
          ? { as: "standby", source }
          : { as: "primary" },
    witness: activity.word,
    peers: peers.words,
  };
}

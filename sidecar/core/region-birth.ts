import { sourcesOf, type Link } from "./link.ts";
import type { ActiveRecord, BirthAnswer } from "./region-status.ts";

/** How long the first active region must have been without any word before it makes a database of its own, in
 *  milliseconds: a witness and peers that are there answer within this, also over a slow WAN. */
export const SILENCE_MILLIS = 5000;

/** What the witness says. */
export type WitnessWord =
  | { readonly state: "told"; readonly active: ActiveRecord | undefined; readonly last: string | undefined }
  | { readonly state: "damaged"; readonly cause: string }
  | {
      readonly state: "unreachable";
      /** For how long, in milliseconds. */
      readonly forMillis: number;
      /** Region that it named when it could be read last, in this process' time. */
      readonly lastKnown: string | undefined;
    };

/** What a peer's controller says. */
export interface PeerWord {
  readonly region: string;
  readonly reachable: boolean;
  /** Who is active, as far as it knows. */
  readonly active: ActiveRecord | undefined;
  /** Whether it has a database with a system identifier; remembered from its last word while it is silent. */
  readonly hasData: boolean;
  /** Whether its database can be copied from: a primary, or a standby that streams. */
  readonly serves: boolean;
}

type Source = { readonly host: string; readonly port: number; readonly slot: string };

export interface BirthInput {
  readonly region: string;
  /** Whether the region's own members and every peer have been asked at least once since the controller's start. */
  readonly informed: boolean;
  /** Every region: who takes over first, who is active at first, and how this region streams from it. */
  readonly regions: Readonly<
    Record<string, { readonly priority: number; readonly initiallyActive: boolean; readonly source: Source }>
  >;
  readonly links: readonly Link[];
  /** The region's own cluster, when any member of it has a database. */
  readonly cluster:
    { readonly as: "primary" } | { readonly as: "standby"; readonly source: Source | undefined } | undefined;
  readonly witness: WitnessWord;
  readonly peers: readonly PeerWord[];
}

/**
 * What a database pod with an empty volume becomes. The first rule that fits decides; a second history of the data is
 * never begun, and what is doubtful waits for a person.
 *
 * | #  | known                                                     | answer                                           |
 * | -- | --------------------------------------------------------- | ------------------------------------------------ |
 * | 0  | not everybody has been asked yet                          | wait                                             |
 * | 1  | the region has a database already                         | what it is: the newcomer copies it               |
 * | 2  | the witness' record is damaged                            | wait                                             |
 * | 3  | witness: another region is active, or was last            | standby of the best source                       |
 * | 4  | witness: this region is active, or was last; and          |                                                  |
 * | 4a | … a peer has data, or one is silent                       | wait: the data is gone here and may be there     |
 * | 4b | … every peer answers, and none has data                   | primary                                          |
 * | 5  | witness: nobody ever; this region is initially active and |                                                  |
 * | 5a | … a peer has data                                         | wait                                             |
 * | 5b | … otherwise                                               | primary                                          |
 * | 6  | witness: nobody ever; another region is initially active  | standby of the best source                       |
 * | 7  | no witness, but peers (or it, before) name a region       | as 3 or 4                                        |
 * | 8  | no witness, nobody named; another is initially active     | standby of the best source                       |
 * | 9  | no witness, nobody named; this one is initially active    |                                                  |
 * | 9a | … a peer has data                                         | wait                                             |
 * | 9b | … for less than 5 s                                       | wait                                             |
 * | 9c | … for 5 s                                                 | primary                                          |
 *
 * 9c is how the first region comes up alone, before any other. It is also what a former first region does that comes
 * back with empty volumes and is cut off from everyone; the database that it then makes is empty, holds no activity (the
 * witness gives it none) and shows as `different-system` and `two-primaries` once the others are reached.
 */
export function birth(input: BirthInput): BirthAnswer {
  const { region, cluster, witness } = input;
  const first = Object.keys(input.regions).find((name) => input.regions[name]!.initiallyActive);
  if (!input.informed) return { as: "wait", cause: "the controller has just started and has not asked everybody yet" };
  if (cluster) {
    if (cluster.as === "primary") return { as: "primary", cause: `${region} has a primary already` };
    const source = cluster.source ?? bestSource(input, first ?? region)?.source;
    if (source) return { as: "standby", source, ready: true, cause: `${region} has a standby cluster already` };
    return { as: "wait", cause: `${region} has a standby cluster whose source is not known yet` };
  }
  if (witness.state === "damaged") return { as: "wait", cause: `the witness' record is damaged: ${witness.cause}` };
  const named = witness.state === "told" ? (witness.active?.region ?? witness.last) : namedByOthers(input);
  const by = witness.state === "told" ? "the witness" : "the others (the witness is out of reach)";
  if (named !== undefined && named !== region) return standbyOf(input, named, `${named} is active by ${by}`);

  const withData = input.peers.filter(({ hasData }) => hasData).map((peer) => peer.region);
  if (named === region) {
    if (withData.length > 0)
      return {
        as: "wait",
        cause: `${region} is the active region by ${by}, but no database of it answers, and there is a copy in ${withData.join(", ")}: bring its database back, promote another region, or restore ${region} from a backup`,
      };
    const silent = input.peers.filter(({ reachable }) => !reachable).map((peer) => peer.region);
    if (silent.length > 0)
      return {
        as: "wait",
        cause: `${region} is the active region by ${by}, but no database of it answers, and ${silent.join(", ")} may have a copy and does not answer: bring one of them back first, or restore ${region} from a backup`,
      };
    return { as: "primary", cause: `${region} is the active region by ${by}, and no region has any data` };
  }

  if (first !== region) {
    if (first === undefined) return { as: "wait", cause: "no region is initially active by configuration" };
    return standbyOf(input, first, `nobody is known to be active, and ${first} is the first by configuration`);
  }
  if (withData.length > 0)
    return {
      as: "wait",
      cause: `${region} is the first region by configuration and nobody is known to be active, but there is data in ${withData.join(", ")}: a second history is never begun; promote that region, or remove its data`,
    };
  if (witness.state === "told")
    return { as: "primary", cause: "nobody has ever been active, and this is the first region by configuration" };
  if (witness.forMillis < SILENCE_MILLIS)
    return { as: "wait", cause: `the witness has not answered yet; asked for ${Math.round(witness.forMillis)} ms` };
  return {
    as: "primary",
    cause: `first region by configuration; for ${Math.round(witness.forMillis / 1000)} s neither the witness nor a region with data answered`,
  };
}

/** Why a region without a database cannot have one yet; undefined when it has one, when a pod that asks now is given
 *  one, and before everybody was asked. */
export function waitsFor(input: BirthInput): string | undefined {
  if (input.cluster || !input.informed) return undefined;
  const answer = birth(input);
  if (answer.as === "wait") return answer.cause;
  return answer.as === "standby" && !answer.ready ? `${answer.cause}, which does not answer` : undefined;
}

/** Who is active by what the witness said last and by the peers that answer: the newest epoch. */
function namedByOthers({ witness, peers }: BirthInput): string | undefined {
  const told = peers
    .filter(({ reachable, active }) => reachable && active !== undefined)
    .map(({ active }) => active!)
    .sort((a, b) => b.epoch - a.epoch);
  return told[0]?.region ?? (witness.state === "unreachable" ? witness.lastKnown : undefined);
}

function standbyOf(input: BirthInput, active: string, cause: string): BirthAnswer {
  const best = bestSource(input, active);
  if (best)
    return { as: "standby", source: best.source, ready: best.serves, cause: `${cause}; copied from ${best.name}` };
  return { as: "wait", cause: `${cause}, but no link leads from it to ${input.region}` };
}

/** The first source that can be copied from just now; the first of all when that is true of none. */
function bestSource(input: BirthInput, active: string): { name: string; source: Source; serves: boolean } | undefined {
  const priorities = Object.fromEntries(Object.entries(input.regions).map(([name, { priority }]) => [name, priority]));
  const order = sourcesOf(input.links, priorities, input.region, active).filter((name) => name in input.regions);
  const serves = (name: string) => input.peers.some((peer) => peer.region === name && peer.reachable && peer.serves);
  const name = order.find(serves) ?? order[0];
  return name === undefined ? undefined : { name, source: input.regions[name]!.source, serves: serves(name) };
}

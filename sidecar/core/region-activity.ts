import { z } from "zod";
import type { ActiveRecord, DatabaseStatus, Problem } from "./region-status.ts";

/** Keys of the witness that say who is active. */
export const WITNESS_KEYS = {
  /** A number that only ever grows; under no lease. */
  epoch: "/iam-ha/epoch",
  /** An ActiveRecord under the lease of its region: gone when that has not been heard for the lease's time to live. */
  active: "/iam-ha/active",
  /** The region that was active last; under no lease. */
  last: "/iam-ha/last",
  /** System identifier of the platform's database, written by the first claim; under no lease. An empty database that was
   *  made anew by mistake, or by wrong passwords, is another one and never gets activity. */
  system: "/iam-ha/system",
  /** What a reader asks for to get all of the above. */
  prefix: "/iam-ha/",
} as const;

/** Key of the platform's one name, as CoreDNS' etcd plugin looks for it: labels from the top, and a last part of our own. */
export function dnsKey(name: string): string {
  return `/skydns/${name.split(".").reverse().join("/")}/active`;
}

/** Record of the platform's one name: an alias of the active region's edge. */
export function dnsRecord(host: string, ttlSeconds: number): string {
  return JSON.stringify({ host, ttl: ttlSeconds });
}

/** Pause between two looks at the witness, each of which renews the lease of the region that holds activity, in
 *  milliseconds: often enough that a lease outlives one lost round, and that the edge follows within about a second. */
export function activityMillis(leaseTtlSeconds: number): number {
  return Math.min(1000, (leaseTtlSeconds * 1000) / 5);
}

export interface KeyValue {
  readonly key: string;
  readonly value: string;
  /** Revision of the last change. */
  readonly modRevision: number;
  /** Lease that the key lives under; "0" for none. */
  readonly lease: string;
}

/** What must hold for a transaction to be carried out. */
export type Compare =
  | { readonly key: string; readonly is: "absent" }
  | { readonly key: string; readonly is: "unchanged"; readonly modRevision: number }
  | { readonly key: string; readonly is: "equal"; readonly value: string };

export interface Put {
  readonly key: string;
  readonly value: string;
  readonly lease?: string;
}

/** All of `puts` at one moment, or nothing. */
export interface Transaction {
  readonly compare: readonly Compare[];
  readonly puts: readonly Put[];
}

/** What the witness holds. */
export interface WitnessView {
  readonly epoch: { readonly value: number; readonly modRevision: number } | undefined;
  readonly active: (ActiveRecord & { readonly modRevision: number; readonly lease: string }) | undefined;
  readonly last: string | undefined;
  /** System identifier of the database that was active. */
  readonly system: string | undefined;
  readonly dns: string | undefined;
  /** What cannot be understood of it, in words. Nothing is decided on such a view. */
  readonly broken: string | undefined;
}

const record = z.object({ region: z.string().min(1), epoch: z.int().min(1), since: z.string() });

/** Makes sense of the witness' keys, all read at one revision. */
export function witnessView(all: readonly KeyValue[], dns: string): WitnessView {
  const find = (key: string) => all.find((kv) => kv.key === key);
  const problems: string[] = [];

  const epochKey = find(WITNESS_KEYS.epoch);
  let epoch: WitnessView["epoch"];
  if (epochKey) {
    if (/^[1-9][0-9]{0,14}$/.test(epochKey.value))
      epoch = { value: Number(epochKey.value), modRevision: epochKey.modRevision };
    else problems.push(`${WITNESS_KEYS.epoch} is not a number`);
  }

  const activeKey = find(WITNESS_KEYS.active);
  let active: WitnessView["active"];
  if (activeKey) {
    const parsed = record.safeParse(parseJson(activeKey.value));
    if (parsed.success) active = { ...parsed.data, modRevision: activeKey.modRevision, lease: activeKey.lease };
    else problems.push(`${WITNESS_KEYS.active} is not a record of activity`);
  }

  const last = find(WITNESS_KEYS.last)?.value;
  if (problems.length === 0) {
    if ((epoch === undefined) !== (last === undefined))
      problems.push(`${WITNESS_KEYS.epoch} and ${WITNESS_KEYS.last} must both be there, or neither`);
    else if (active && active.epoch !== epoch?.value)
      problems.push(`${WITNESS_KEYS.active} has epoch ${active.epoch}, ${WITNESS_KEYS.epoch} says ${epoch?.value}`);
    else if (active && active.region !== last)
      problems.push(`${WITNESS_KEYS.active} names ${active.region}, ${WITNESS_KEYS.last} says ${last}`);
    else if (active && active.lease === "0") problems.push(`${WITNESS_KEYS.active} is under no lease`);
  }
  return {
    epoch,
    active,
    last,
    system: find(WITNESS_KEYS.system)?.value,
    dns: find(dns)?.value,
    broken: problems.length > 0 ? problems.join("; ") : undefined,
  };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

export interface ActivityInput {
  /** The region that decides. */
  readonly region: string;
  /** Whether it is the active one when the platform is made. */
  readonly initiallyActive: boolean;
  /** What its own database is. */
  readonly database: DatabaseStatus["state"];
  /** Its system identifier, as far as it is known. */
  readonly systemId: string | undefined;
  readonly witness: WitnessView;
}

export type ActivityAction =
  /** Take activity under a new lease and this epoch. */
  | { readonly kind: "claim"; readonly epoch: number; readonly cause: string }
  /** Keep the lease of the region's own record alive. */
  | { readonly kind: "keep"; readonly epoch: number; readonly lease: string; readonly cause: string }
  | { readonly kind: "none"; readonly cause: string };

/**
 * What a region does about activity. It takes it for the first time, or takes it back after its own lease has run out
 * while nobody else had it; it never takes it from another region, and never without a running primary of its own.
 *
 * | witness                                    | own database  | action                     |
 * | ------------------------------------------ | ------------- | -------------------------- |
 * | record of this region                      | anything      | keep its lease             |
 * | record of this region, or it was last      | another one   | none                       |
 * | record of another region                   | anything      | none                       |
 * | no record, this region was last            | primary       | claim, epoch + 1           |
 * | no record, another region was last         | anything      | none                       |
 * | nothing ever, region is initially active   | primary       | claim, epoch 1             |
 * | anything else, or not to be understood     |               | none                       |
 *
 * One lease, one epoch: a controller that restarts within the time to live finds its region's record and keeps that
 * record's own lease, which it reads from the witness, under the same epoch. The record never went away, so nobody else
 * can have held activity meanwhile; and two processes of one region keep the same lease, which is harmless. A new lease
 * is always a new epoch. So an epoch names one uninterrupted time of one region, which is what a fence must tell apart.
 */
export function decideActivity(input: ActivityInput): ActivityAction {
  const { region, witness, database, systemId } = input;
  const { active, epoch, last } = witness;
  if (witness.broken !== undefined) return { kind: "none", cause: `the witness' record is damaged: ${witness.broken}` };
  if (isForeign(input)) return { kind: "none", cause: FOREIGN };
  if (active?.region === region)
    return { kind: "keep", epoch: active.epoch, lease: active.lease, cause: "this region is active" };
  if (active) return { kind: "none", cause: `${active.region} is active under epoch ${active.epoch}` };
  if (epoch === undefined) {
    if (!input.initiallyActive)
      return { kind: "none", cause: "no region has been active yet, and this is not the first" };
    if (database !== "primary") return { kind: "none", cause: `first to be active, but the database is ${database}` };
    if (systemId === undefined) return { kind: "none", cause: "it is not known which database this is" };
    return { kind: "claim", epoch: 1, cause: "no region has been active yet, and this is the first by configuration" };
  }
  if (last !== region) return { kind: "none", cause: `no region is active; ${last} was last` };
  if (database !== "primary")
    return { kind: "none", cause: `this region's lease ran out, and its database is ${database}` };
  if (systemId === undefined) return { kind: "none", cause: "it is not known which database this is" };
  return { kind: "claim", epoch: epoch.value + 1, cause: "this region's lease ran out, and nobody took its place" };
}

const FOREIGN = "this region's primary is another database than the platform's: it was made anew";

/** Whether the region's primary is not the database that was active. */
function isForeign({ database, systemId, witness }: ActivityInput): boolean {
  return (
    database === "primary" && systemId !== undefined && witness.system !== undefined && systemId !== witness.system
  );
}

/** What a claim writes: the record, the epoch, who was last, and the platform's name, in one transaction that fails when
 *  anything that the decision rests on has changed. The name is under no lease: while no controller is there to renew
 *  one, clients are still led to where they were served. */
export function claimTransaction(
  witness: WitnessView,
  claim: {
    readonly record: ActiveRecord;
    readonly systemId: string;
    readonly lease: string;
    readonly dns: { key: string; value: string };
  },
): Transaction {
  const { epoch, last, system } = witness;
  const { record, systemId, lease, dns } = claim;
  return {
    compare: [
      { key: WITNESS_KEYS.active, is: "absent" },
      epoch
        ? { key: WITNESS_KEYS.epoch, is: "unchanged", modRevision: epoch.modRevision }
        : { key: WITNESS_KEYS.epoch, is: "absent" },
      last !== undefined
        ? { key: WITNESS_KEYS.last, is: "equal", value: record.region }
        : { key: WITNESS_KEYS.last, is: "absent" },
      system !== undefined
        ? { key: WITNESS_KEYS.system, is: "equal", value: systemId }
        : { key: WITNESS_KEYS.system, is: "absent" },
    ],
    puts: [
      { key: WITNESS_KEYS.epoch, value: String(record.epoch) },
      { key: WITNESS_KEYS.active, value: JSON.stringify(record), lease },
      { key: WITNESS_KEYS.last, value: record.region },
      { key: WITNESS_KEYS.system, value: systemId },
      { key: dns.key, value: dns.value },
    ],
  };
}

/** Brings the platform's name to the active region's edge again, should it be missing or lead elsewhere; only while the
 *  region's own record is the one that was read. Undefined when there is nothing to do. */
export function dnsRepair(
  witness: WitnessView,
  region: string,
  dns: { key: string; value: string },
): Transaction | undefined {
  const { active, broken } = witness;
  if (broken !== undefined || active?.region !== region || witness.dns === dns.value) return undefined;
  return {
    compare: [{ key: WITNESS_KEYS.active, is: "unchanged", modRevision: active.modRevision }],
    puts: [{ key: dns.key, value: dns.value }],
  };
}

/** What is wrong with activity, in words. */
export function activityProblems(input: ActivityInput): Problem[] {
  const { region, database, witness } = input;
  if (witness.broken !== undefined)
    return [
      {
        kind: "witness-damaged",
        subject: "witness",
        message: `the record of activity cannot be trusted, and nothing is decided on it: ${witness.broken}`,
      },
    ];
  const { active, last } = witness;
  const holder = active?.region ?? last;
  if (isForeign(input))
    return [
      {
        kind: "foreign-database",
        subject: region,
        message: `${FOREIGN}; it gets no activity. Empty its volumes, and it becomes a copy of a region that has the data`,
      },
    ];
  if (database === "primary" && holder !== undefined && holder !== region)
    return [
      {
        kind: "two-primaries",
        subject: region,
        message: active
          ? `the database of ${region} is a primary, but ${holder} is active under epoch ${active.epoch}: writes here are lost or fork the data; stop them, and make this region a standby of ${holder} by hand`
          : `the database of ${region} is a primary, but ${holder} was active last: nothing is decided until ${holder} is back or a person says who is active`,
      },
    ];
  if (active?.region === region && database === "standby")
    return [
      {
        kind: "active-without-primary",
        subject: region,
        message: `${region} is active under epoch ${active.epoch}, but its database is a standby: no writes are possible`,
      },
    ];
  if (!active && last !== undefined)
    return [
      {
        kind: "nobody-active",
        subject: last,
        message: `no region is active; ${last} was last and takes activity back when its database is a primary and its controller reaches the witness`,
      },
    ];
  return [];
}

import { z } from "zod";
import { COMPONENTS } from "../../components/common/names.ts";
import { shaped, yamlAs } from "./parsed.ts";
import { podsOf, type Pods } from "./sets.ts";
import { CannotJudge, fileIn, titleOf, type Resource, type Stack } from "./stack.ts";

const LOCAL = "10-patroni.yml";
const DYNAMIC = "20-dynamic.yml";
const DCS = `data["${DYNAMIC}"] bootstrap.dcs`;

const tree = z.record(z.string(), z.unknown());
const file = z.looseObject({
  bootstrap: z.looseObject({ dcs: tree.optional(), initdb: z.array(z.unknown()).optional() }).optional(),
  postgresql: tree.optional(),
});

/** Parameters that Patroni takes from what all members share, and nowhere else. */
const SHARED_ONLY: ReadonlySet<string> = new Set([
  "wal_level",
  "hot_standby",
  "max_connections",
  "max_wal_senders",
  "wal_keep_size",
  "max_prepared_transactions",
  "max_locks_per_transaction",
  "track_commit_timestamp",
  "max_replication_slots",
  "max_worker_processes",
  "wal_log_hints",
]);

/** What Patroni, and PostgreSQL by it, are told. */
export interface PatroniConfig {
  readonly resource: Resource;
  /** What all members share: `ttl`, `loop_wait`, `slots`, … */
  readonly shared: Settings;
  /** Section `postgresql` as a member has it in the end. */
  readonly postgresql: Settings;
  /** PostgreSQL's parameters as a member has them in the end, in lower case. */
  readonly parameters: Settings;
  /** Options of the cluster's birth. */
  readonly initdb: readonly unknown[];
}

/** Values by name, and where they stand. */
export interface Settings {
  readonly where: string;
  readonly values: Readonly<Record<string, unknown>>;
}

/** Patroni's configuration in a resource; undefined for any other resource.
 *  @throws CannotJudge when one of its two files is missing or cannot be read */
export function patroniIn(resource: Resource): PatroniConfig | undefined {
  const [localText, dynamicText] = [LOCAL, DYNAMIC].map((name) => fileIn(resource, COMPONENTS.postgres, name));
  if (localText === undefined && dynamicText === undefined) return undefined;
  if (localText === undefined || dynamicText === undefined)
    throw new CannotJudge(`${titleOf(resource)} data: has no ${localText === undefined ? LOCAL : DYNAMIC}`);
  const local = yamlAs(file, localText, `data["${LOCAL}"]`);
  const shared = shaped(tree, yamlAs(file, dynamicText, `data["${DYNAMIC}"]`).bootstrap?.dcs, DCS);
  if (local.bootstrap?.dcs !== undefined)
    throw new CannotJudge(`data["${LOCAL}"] bootstrap.dcs: belongs into ${DYNAMIC} alone`);
  const [common, own] = [shared["postgresql"] ?? {}, local.postgresql ?? {}].map((section) =>
    shaped(z.looseObject({ parameters: tree.default({}) }), section, `${DCS}.postgresql`),
  ) as [Section, Section];
  const ownParameters = Object.entries(lowered(own.parameters)).filter(([name]) => !SHARED_ONLY.has(name));
  return {
    resource,
    shared: { where: DCS, values: shared },
    // Whether slots are used at all is for all members or for none.
    postgresql: { where: `${DCS}.postgresql`, values: { ...common, ...own, use_slots: common["use_slots"] } },
    parameters: {
      where: `${DCS}.postgresql.parameters`,
      values: { ...lowered(common.parameters), ...Object.fromEntries(ownParameters) },
    },
    initdb: local.bootstrap?.initdb ?? [],
  };
}

type Section = Record<string, unknown> & { readonly parameters: Record<string, unknown> };

/** Patroni's configuration in a stack.
 *  @throws CannotJudge when there is none */
export function patroniOf(stack: Stack): PatroniConfig {
  for (const resource of stack.resources) {
    const config = patroniIn(resource);
    if (config) return config;
  }
  throw new CannotJudge(`no ConfigMap of ${COMPONENTS.postgres} has the file ${DYNAMIC}`);
}

/** The pods of the database: the primary, and its replicas.
 *  @throws CannotJudge */
export function membersOf(stack: Stack): Pods {
  return podsOf(stack, "StatefulSet", COMPONENTS.postgres);
}

/** A number, also one in quotes.
 *  @throws CannotJudge when it is missing or none */
export function numberIn({ where, values }: Settings, name: string): number {
  const value = values[name];
  const number = typeof value === "string" && value.trim() !== "" ? Number(value) : value;
  if (typeof number !== "number" || !Number.isFinite(number))
    throw new CannotJudge(`${where}.${name}: ${value === undefined ? "is not set" : `${show(value)} is no number`}`);
  return number;
}

/** Whether something is on, in any of the ways in which Patroni and PostgreSQL let one say it.
 *  @throws CannotJudge when it says neither, or nothing and no default is known */
export function isOn({ where, values }: Settings, name: string, byDefault?: boolean): boolean {
  const value = values[name];
  if (value === undefined && byDefault !== undefined) return byDefault;
  const word = String(value).toLowerCase();
  if (["true", "on", "yes", "1"].includes(word)) return true;
  if (["false", "off", "no", "0"].includes(word)) return false;
  throw new CannotJudge(
    `${where}.${name}: ${value === undefined ? "is not set" : `${show(value)} is neither on nor off`}`,
  );
}

const UNITS: Readonly<Record<string, number>> = { B: 1, kB: 1024, MB: 1024 ** 2, GB: 1024 ** 3, TB: 1024 ** 4 };

/** An amount of WAL in bytes; without a unit PostgreSQL takes megabytes. -1 for what means "no limit".
 *  @throws CannotJudge when it is missing or no size */
export function walBytes({ where, values }: Settings, name: string): number {
  const value = values[name];
  const match = /^(-?[0-9]+) *(B|kB|MB|GB|TB)?$/.exec(String(value).trim());
  if (!match)
    throw new CannotJudge(`${where}.${name}: ${value === undefined ? "is not set" : `${show(value)} is no size`}`);
  const count = Number(match[1]);
  return count < 0 ? -1 : count * UNITS[match[2] ?? "MB"]!;
}

/** A permanent slot as Patroni is told of it. */
export function slotsOf(config: PatroniConfig): Readonly<Record<string, Readonly<Record<string, unknown>>>> {
  return shaped(z.record(z.string(), tree), config.shared.values["slots"] ?? {}, `${DCS}.slots`);
}

function lowered(parameters: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(parameters).map(([name, value]) => [name.toLowerCase(), value]));
}

/** A value as it is shown in a message. */
export function show(value: unknown): string {
  return JSON.stringify(value) ?? "nothing";
}

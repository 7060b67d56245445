/** What a change does to what runs, the gravest first: the words by which a summary names it. */
export const EFFECTS = {
  "deletes-data": "deletes data",
  "active-region": "changes the active region",
  "stops-database": "stops the database",
  "restarts-database": "restarts the database",
  "pending-restart": "needs a restart of the database",
  "drops-slot": "drops a replication slot",
  "stops-redis": "stops Redis",
  "restarts-redis": "restarts Redis",
  "cuts-connections": "cuts connections",
  "replaces-object": "replaces an object",
  restarts: "restarts pods",
  scales: "changes the number of pods",
  access: "changes who may do or reach what",
  later: "waits for the next start of pods",
  reloads: "reloads",
  nothing: "nothing at run time",
} as const;

export type EffectKind = keyof typeof EFFECTS;

/** Kinds that a reviewer must not overlook: they stand in the summary. */
export const GRAVE: ReadonlySet<EffectKind> = new Set([
  "deletes-data",
  "active-region",
  "stops-database",
  "restarts-database",
  "pending-restart",
  "drops-slot",
  "stops-redis",
  "restarts-redis",
  "cuts-connections",
  "replaces-object",
]);

/** What one object's change does. */
export interface Effect {
  readonly kind: EffectKind;
  /** The object: `StatefulSet/postgresql-beijing`. */
  readonly object: string;
  /** Why, and how it goes, in one sentence. */
  readonly reason: string;
}

const ORDER = Object.keys(EFFECTS) as EffectKind[];

/** The gravest first. */
export function byGravity(effects: readonly Effect[]): Effect[] {
  return [...effects].sort((a, b) => ORDER.indexOf(a.kind) - ORDER.indexOf(b.kind));
}

import { stringify } from "yaml";
import type { FieldChange, ObjectChange } from "./diff.ts";
import { EFFECTS, GRAVE, type Effect, type EffectKind } from "./effects/index.ts";
import { compareLines, hunks, type Line } from "./lines.ts";
import { titleOf } from "./objects.ts";
import { pathText } from "./paths.ts";
import { countsOf, isFailed, isUnsafe, verbOf, type RegionPreview, type StackPreview } from "./preview.ts";
import { MASK } from "./secrets.ts";

/** Longer values are cut: what they are is in the JSON output. */
const LONGEST_VALUE = 240;

/** Signs of what happens to an object. */
export const SIGNS = { created: "+", changed: "~", replaced: "±", deleted: "-" } as const;

/** `1 created, 2 changed; restarts the database`, or `no change`. */
export function summaryOf(preview: StackPreview): string {
  if (isFailed(preview)) return "could not be previewed";
  const counts = Object.entries(countsOf(preview.changes))
    .filter(([, count]) => count > 0)
    .map(([verb, count]) => `${count} ${verb}`);
  return [counts.join(", ") || "no change", ...gravest(preview).map((kind) => EFFECTS[kind])].join("; ");
}

/** What a reviewer must not overlook, each kind once. */
export function gravest({ effects }: RegionPreview): EffectKind[] {
  return [...new Set(effects.map(({ kind }) => kind))].filter((kind) => GRAVE.has(kind));
}

/** The verdict in words, for whoever reads no exit status. */
export function verdictOf(preview: RegionPreview): string {
  if (preview.policyError !== undefined) return "the policies could not run";
  return isUnsafe(preview) ? "must not be applied as it is" : "may be applied";
}

/** `~ StatefulSet/postgresql-beijing` */
export function headOf(change: ObjectChange): string {
  return `${SIGNS[verbOf(change)]} ${titleOf(change.id)}`;
}

/** A field's change as lines of a diff. */
export function fieldLines(change: FieldChange): Line[] {
  const path = pathText(change.path);
  const { before, after, kind } = change;
  if (change.secret) return [{ sign: " ", text: `${path}: ${MASK} ${kind}` }];
  if (kind === "reordered") return [{ sign: " ", text: `${path}: another order: ${names(before)} → ${names(after)}` }];
  if (typeof before === "string" && typeof after === "string" && `${before}${after}`.includes("\n"))
    return [
      { sign: " ", text: `${path}:` },
      ...hunks(compareLines(before, after)).map(({ sign, text }) => ({ sign, text: `  ${cut(text)}` })),
    ];
  return [
    ...("before" in change ? valueLines("-", path, before) : []),
    ...("after" in change ? valueLines("+", path, after) : []),
  ];
}

function valueLines(sign: Line["sign"], path: string, value: unknown): Line[] {
  if (typeof value !== "object" || value === null) {
    const text = typeof value === "string" && value.includes("\n") ? value.split("\n") : undefined;
    if (!text) return [{ sign, text: `${path}: ${cut(JSON.stringify(value) ?? "")}` }];
    return [{ sign, text: `${path}:` }, ...text.map((line) => ({ sign, text: `  ${cut(line)}` }))];
  }
  // Through JSON first: what is sealed turns into its mask there.
  const plain: unknown = JSON.parse(JSON.stringify(value));
  const lines = stringify(plain, { lineWidth: 0, aliasDuplicateObjects: false }).trimEnd().split("\n");
  if (lines.length === 1) return [{ sign, text: `${path}: ${cut(lines[0]!)}` }];
  return [{ sign, text: `${path}:` }, ...lines.map((line) => ({ sign, text: `  ${cut(line)}` }))];
}

function names(value: unknown): string {
  return cut((value as readonly unknown[]).map(String).join(", "));
}

function cut(text: string): string {
  return text.length <= LONGEST_VALUE ? text : `${text.slice(0, LONGEST_VALUE)}… (${text.length} characters)`;
}

/** The effects of one object. */
export function effectsOn(change: ObjectChange, effects: readonly Effect[]): Effect[] {
  const title = titleOf(change.id);
  return effects.filter(({ object }) => object === title);
}

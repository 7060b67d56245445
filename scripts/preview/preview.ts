import type { KubernetesObject } from "../render/objects.ts";
import { diffObjects, type ObjectChange } from "./diff.ts";
import { effectsOf, type Effect } from "./effects/index.ts";
import { immutablePaths } from "./effects/immutable.ts";
import { unsafeChanges, type UnsafeChange } from "./safety.ts";
import type { KnownSecrets } from "./secrets.ts";

/** What a preview is held against, in words: `cluster iam-ha-beijing`, `main (1a2b3c4)`. */
export type Against = string;

/** Objects of now and of after, ready to be compared. */
export interface Comparison {
  readonly against: Against;
  readonly before: readonly KubernetesObject[];
  readonly after: readonly KubernetesObject[];
  readonly secrets: KnownSecrets;
  /** Objects that the API server would not take, and why. */
  readonly refused: readonly Refusal[];
  /** What whoever reads the preview has to know besides. */
  readonly notes: readonly string[];
}

export interface Refusal {
  /** `StatefulSet/postgresql-beijing` */
  readonly object: string;
  readonly message: string;
}

/** A finding of the policy pack. */
export interface PolicyFinding {
  readonly rule: string;
  readonly level: string;
  readonly message: string;
  readonly object?: string | undefined;
  readonly remediation?: string | undefined;
  readonly url?: string | undefined;
}

/** What the policy pack says of a stack, or why it could not. */
export type PolicyResult = { readonly findings: readonly PolicyFinding[] } | { readonly error: string };

/** The preview of one region. */
export interface RegionPreview {
  readonly stack: string;
  readonly against: Against;
  readonly changes: readonly ObjectChange[];
  readonly effects: readonly Effect[];
  readonly unsafe: readonly UnsafeChange[];
  readonly refused: readonly Refusal[];
  readonly notes: readonly string[];
  readonly findings: readonly PolicyFinding[];
  /** Why the policies could not run; they then do not count as passed. */
  readonly policyError?: string;
}

/** A region of which nothing can be said. */
export interface FailedPreview {
  readonly stack: string;
  readonly against: Against;
  readonly error: string;
}

export type StackPreview = RegionPreview | FailedPreview;

export function isFailed(preview: StackPreview): preview is FailedPreview {
  return "error" in preview;
}

/** What would change, what that does, and what of it must not be. */
export function compare(
  stack: string,
  { against, before, after, secrets, refused, notes }: Comparison,
  options: { readonly unlocked: readonly string[] } & PolicyResult,
): RegionPreview {
  const changes = diffObjects(before, after, secrets);
  const effects = effectsOf(changes, after);
  return {
    stack,
    against,
    changes,
    effects,
    unsafe: unsafeChanges(stack, changes, effects, options.unlocked),
    refused: refused.map(({ object, message }) => ({ object, message: secrets.masked(message) })),
    notes,
    ...("error" in options
      ? { findings: [], policyError: secrets.masked(options.error) }
      : { findings: options.findings.map((one) => ({ ...one, message: secrets.masked(one.message) })) }),
  };
}

/** Numbers of a preview, for its summary. A replaced object is none of the changed ones. */
export function countsOf(
  changes: readonly ObjectChange[],
): Record<"created" | "changed" | "replaced" | "deleted", number> {
  const counts = { created: 0, changed: 0, replaced: 0, deleted: 0 };
  for (const change of changes) counts[verbOf(change)] += 1;
  return counts;
}

/** What happens to the object. */
export function verbOf(change: ObjectChange): "created" | "changed" | "replaced" | "deleted" {
  return immutablePaths(change).length > 0 ? "replaced" : change.action;
}

/** Exit status of a preview: 2 where something could not be told; 1 where a policy is violated, the API server refuses an
 *  object, or a change is unsafe and not unlocked; 0 else. */
export function exitStatus(previews: readonly StackPreview[]): 0 | 1 | 2 {
  if (previews.some((preview) => isFailed(preview) || preview.policyError !== undefined)) return 2;
  return previews.some((preview) => !isFailed(preview) && isUnsafe(preview)) ? 1 : 0;
}

export function isUnsafe({ unsafe, refused, findings }: RegionPreview): boolean {
  return (
    unsafe.some((one) => !one.unlocked) || refused.length > 0 || findings.some(({ level }) => level === "mandatory")
  );
}

/** Whether anything would change. */
export function hasChanges(previews: readonly StackPreview[]): boolean {
  return previews.some((preview) => !isFailed(preview) && preview.changes.length > 0);
}

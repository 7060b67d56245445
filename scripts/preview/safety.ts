import type { KubernetesObject } from "../render/objects.ts";
import type { ObjectChange } from "./diff.ts";
import { dataOf } from "./effects/data.ts";
import type { Effect } from "./effects/index.ts";
import { immutablePaths } from "./effects/immutable.ts";
import { titleOf } from "./objects.ts";

/** By this name a change of the active region is unlocked in a stack: `ActiveRegion/beijing`. */
export function activeRegionUnlock(stack: string): string {
  return `ActiveRegion/${stack}`;
}

/** A change that must not happen unless somebody has unlocked it by name. */
export interface UnsafeChange {
  /** By which it is unlocked: `StatefulSet/postgresql-beijing`, `ActiveRegion/beijing`. */
  readonly unlock: string;
  /** The object: `StatefulSet/postgresql-beijing`. */
  readonly object: string;
  /** What would happen, in one sentence. */
  readonly message: string;
  readonly unlocked: boolean;
}

/** Deletes and replacements of what holds data, and changes of the active region.
 *  @param unlocked names of what may be changed all the same */
export function unsafeChanges(
  stack: string,
  changes: readonly ObjectChange[],
  effects: readonly Effect[],
  unlocked: readonly string[],
): UnsafeChange[] {
  const held = changes.flatMap((change): Omit<UnsafeChange, "unlocked">[] => {
    const doing = lossOf(change);
    const data = change.before && dataOf(change.before);
    if (!doing || !data) return [];
    const name = titleOf(change.id);
    const fate = data.survives ? `${data.what} stays, without anything that serves it` : `${data.what} is lost`;
    return [{ unlock: name, object: name, message: `${name} would be ${doing}: ${fate}` }];
  });
  const moved = effects
    .filter(({ kind }) => kind === "active-region")
    .map(({ object, reason }) => ({
      unlock: activeRegionUnlock(stack),
      object,
      message: `${object} would change the active region: ${reason}`,
    }));
  return [...held, ...moved].map((one) => ({ ...one, unlocked: unlocked.includes(one.unlock) }));
}

function lossOf(change: ObjectChange): string | undefined {
  if (change.action === "deleted") return "deleted";
  const paths = immutablePaths(change);
  return paths.length > 0 ? `replaced, as ${paths.join(", ")} cannot be changed` : undefined;
}

/** Names in `unlocked` that nothing answers to: a mistyped unlock would be taken for one. An unlock may stand there after
 *  its change has been made, so the objects of before and after count. */
export function unknownUnlocks(
  stack: string,
  unlocked: readonly string[],
  objects: readonly KubernetesObject[],
  changes: readonly ObjectChange[],
): string[] {
  const known = new Set([
    activeRegionUnlock(stack),
    ...objects.map(({ kind, metadata }) => titleOf({ kind, name: metadata.name })),
    ...changes.map(({ id }) => titleOf(id)),
  ]);
  return unlocked.filter((name) => !known.has(name));
}

import assert from "node:assert/strict";
import { diffObjects, type ObjectChange } from "../../../scripts/preview/diff.ts";
import { effectsOf, type Effect } from "../../../scripts/preview/effects/index.ts";
import { maskedObjects } from "../../../scripts/render/objects.ts";
import { ChangedStack, realStack } from "../../policies/stack.ts";

/** What one change of a real stack does. */
export interface RealChange {
  readonly changes: readonly ObjectChange[];
  readonly effects: readonly Effect[];
}

/** A region as it is rendered, against itself with a change.
 *  @param base a change that both sides have */
export async function changed(
  change: (stack: ChangedStack) => void,
  { region = "beijing", base = () => {} }: { region?: string; base?: (stack: ChangedStack) => void } = {},
): Promise<RealChange> {
  const [old, stack] = [new ChangedStack(await realStack(region)), new ChangedStack(await realStack(region))];
  for (const side of [old, stack]) base(side);
  change(stack);
  const after = maskedObjects(stack.resources);
  const changes = diffObjects(maskedObjects(old.resources), after);
  return { changes, effects: effectsOf(changes, after) };
}

/** Kinds of the effects, each once, the gravest first. */
export const kinds = ({ effects }: RealChange) => [...new Set(effects.map(({ kind }) => kind))];

/** The reasons of one kind of effect, in one text. */
export function reasons({ effects }: RealChange, kind: Effect["kind"]): string {
  const found = effects.filter((effect) => effect.kind === kind);
  assert.ok(found.length > 0, `no ${kind} among ${effects.map((effect) => effect.kind).join(", ")}`);
  return found.map(({ object, reason }) => `${object}: ${reason}`).join("\n");
}

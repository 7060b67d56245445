import { summaryOf } from "./describe.ts";
import { pathText } from "./paths.ts";
import { countsOf, isFailed, isUnsafe, verbOf, type StackPreview } from "./preview.ts";
import { titleOf } from "./objects.ts";

/** Previews for machines: everything, secrets masked. */
export function previewJson(previews: readonly StackPreview[]): string {
  const stacks = previews.map((preview) => {
    const { stack, against } = preview;
    const summary = summaryOf(preview);
    if (isFailed(preview)) return { stack, against, summary, error: preview.error };
    const { effects, unsafe, refused, findings, notes, policyError } = preview;
    return {
      stack,
      against,
      summary,
      safe: !isUnsafe(preview) && policyError === undefined,
      counts: countsOf(preview.changes),
      changes: preview.changes.map((change) => ({
        ...change.id,
        action: verbOf(change),
        effects: effects
          .filter(({ object }) => object === titleOf(change.id))
          .map(({ kind, reason }) => ({ kind, reason })),
        fields: change.fields.map(({ path, kind, secret, before, after }) => ({
          path: pathText(path),
          kind,
          ...(secret ? { secret } : { before, after }),
        })),
        ...(change.action === "created" ? { object: change.after } : {}),
      })),
      unsafe,
      refused,
      policies: policyError === undefined ? { findings } : { error: policyError },
      notes,
    };
  });
  return `${JSON.stringify({ stacks }, null, 2)}\n`;
}

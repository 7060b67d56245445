import { overlaysForShow } from "../local/values/show.ts";
import { renderStack } from "../render/render.ts";
import type { StackResources } from "./findings.ts";

export interface RenderedStackOptions {
  /** Whether the embedded overlay is laid over the stack's file. */
  readonly embedded: boolean;
  /** Whether what a provider computes is unknown, as at a first preview. */
  readonly preview: boolean;
}

/** What the program registers for some stacks. One after the other: the runtime of the render is one for the process. */
export async function renderStacks(
  names: readonly string[],
  { embedded, preview }: RenderedStackOptions,
): Promise<StackResources[]> {
  const stacks: StackResources[] = [];
  for (const name of names) {
    const { resources } = await renderStack(name, {
      overlays: overlaysForShow(name, { embedded }),
      preview,
      // Each its own: rules look for the values of Secrets in everything else.
      compute: (type, of) => (type.startsWith("random:") ? { result: `placeholder-for-${of}` } : undefined),
    });
    stacks.push({ name, resources });
  }
  return stacks;
}

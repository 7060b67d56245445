import { collect, type Collected } from "./collect.ts";
import { readStackConfig, type ConfigTree } from "./stack-config.ts";

export interface RenderOptions {
  /** Config laid over the stack's file, in order. */
  readonly overlays?: readonly ConfigTree[];
  /** Whether to render as a preview would: what a provider computes is unknown. Default false. */
  readonly preview?: boolean;
  /** Computed properties, see `collect`. */
  readonly compute?: (
    type: string,
    name: string,
    inputs: Record<string, unknown>,
  ) => Record<string, unknown> | undefined;
}

let renders = 0;

/** Runs the project's program for one stack without the engine.
 *  @throws Error with every problem of the stack's config, before anything is rendered */
export async function renderStack(stack: string, options: RenderOptions = {}): Promise<Collected> {
  const { config, secretKeys } = readStackConfig(stack, options.overlays);
  // A query makes it a module of its own, so that one process can render several stacks.
  const entry = new URL(`../../stacks/index.ts?render=${++renders}`, import.meta.url).href;
  return collect(() => import(entry) as Promise<unknown>, {
    stack,
    preview: options.preview ?? false,
    config,
    secretKeys,
    ...(options.compute ? { compute: options.compute } : {}),
  });
}

import { checkStacks, type PolicyConfig } from "../policy/index.ts";
import type { RegisteredResource } from "../render/collect.ts";
import type { PolicyResult } from "./preview.ts";

/** Runs the policy pack over the stacks as the program makes them.
 *  @returns what it says of each stack; where it could not run, why: never a result without findings */
export async function policyResults(
  stacks: readonly { readonly stack: string; readonly resources: readonly RegisteredResource[] }[],
  config: PolicyConfig,
  signal: AbortSignal,
): Promise<(stack: string) => PolicyResult> {
  if (stacks.length === 0) return () => ({ error: "no stack could be rendered" });
  try {
    const { findings } = await checkStacks(
      stacks.map(({ stack, resources }) => ({ name: stack, resources })),
      { config, signal },
    );
    return (stack) => ({ findings: findings.filter((finding) => finding.stack === stack) });
  } catch (error) {
    signal.throwIfAborted();
    const text = error instanceof Error ? error.message : String(error);
    return () => ({ error: text });
  }
}

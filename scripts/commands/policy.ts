import { join } from "node:path";
import { REGIONS } from "../arguments.ts";
import { ROOT } from "../paths.ts";
import type { CheckResult, StackResources } from "../policy/findings.ts";
import { COULD_NOT_RUN, VIOLATED, type Format } from "../policy/formats.ts";
import { checkStacks, readPolicyConfig } from "../policy/index.ts";
import { passes, reportJson, reportText } from "../policy/report.ts";
import { sarif } from "../policy/sarif.ts";
import { renderStacks } from "../policy/stacks.ts";
import { readState } from "../policy/state.ts";
import { hasColors } from "./status.ts";

export interface PolicyOptions {
  readonly config?: string;
  readonly format: Format;
  readonly state?: string;
  readonly embedded: boolean;
  readonly preview: boolean;
}

/** What the embedded default does otherwise on purpose. */
export const EMBEDDED_CONFIG = join(ROOT, "policies/embedded.json");

/** Runs the policy pack over stacks and prints what it finds. Exit status 0 where nothing mandatory is found, 1 where
 *  something is, 2 where the rules could not be run. */
export async function policy(names: readonly string[], options: PolicyOptions): Promise<void> {
  const abort = new AbortController();
  const end = () => abort.abort(new Error("interrupted"));
  process.on("SIGINT", end).on("SIGTERM", end);
  try {
    const file = options.config ?? (options.embedded ? EMBEDDED_CONFIG : undefined);
    const config = file === undefined ? {} : readPolicyConfig(file);
    const stacks = await stacksOf(names, options);
    const result = await checkStacks(stacks, { config, signal: abort.signal });
    for (const { name, encrypted = 0 } of result.findings.length > 0 ? stacks : []) {
      if (encrypted === 0) continue;
      process.stderr.write(
        `${name}: ${encrypted} secret values are encrypted in the state file; a rule that needs one does not pass. \`pulumi stack export --show-secrets\` shows them.\n`,
      );
    }
    process.stdout.write(`${shown(result, stacks, options.format)}\n`);
    process.exitCode = passes(result.findings) ? 0 : VIOLATED;
  } catch (error) {
    process.exitCode = COULD_NOT_RUN;
    throw error;
  } finally {
    process.off("SIGINT", end).off("SIGTERM", end);
  }
}

async function stacksOf(names: readonly string[], options: PolicyOptions): Promise<StackResources[]> {
  const { state, embedded, preview } = options;
  if (state !== undefined) {
    if (names.length > 0 || embedded || preview)
      throw new Error("--state judges the one stack in its file: give it without stacks, --embedded and --preview");
    return [readState(state)];
  }
  for (const name of names)
    if (!REGIONS.includes(name)) throw new Error(`found "${name}"; stacks are ${REGIONS.join(", ")}`);
  return renderStacks(names.length > 0 ? [...new Set(names)] : REGIONS, { embedded, preview });
}

function shown(result: CheckResult, stacks: readonly StackResources[], format: Format): string {
  const resources = stacks.reduce((sum, stack) => sum + stack.resources.length, 0);
  switch (format) {
    case "table":
      return reportText(result, { resources, color: hasColors(), width: Math.min(process.stdout.columns || 100, 120) });
    case "json":
      return reportJson(result, { resources });
    case "sarif":
      return sarif(result);
  }
}

import { loadDeployment } from "../deployment.ts";
import { readPolicyConfig } from "../policy/index.ts";
import { policyResults } from "../preview/policy.ts";
import { compare, exitStatus, hasChanges, type StackPreview } from "../preview/preview.ts";
import { previewJson } from "../preview/json.ts";
import { previewMarkdown } from "../preview/markdown.ts";
import { unknownUnlocks } from "../preview/safety.ts";
import { liveCandidates, revisionCandidates, type Candidate, type NoCandidate } from "../preview/stacks.ts";
import { previewText } from "../preview/text.ts";
import { unlockedIn } from "../preview/unlock.ts";
import { EMBEDDED_CONFIG } from "./policy.ts";
import { hasColors } from "./status.ts";

export interface PreviewOptions {
  readonly regions?: readonly string[];
  /** `live`, or a revision of the repository. */
  readonly against?: string;
  readonly format: "text" | "json" | "markdown";
  readonly markdown: boolean;
  readonly instance: string;
  readonly contexts?: Record<string, string>;
  readonly config?: string;
  readonly unlock: readonly string[];
  readonly exitCode: boolean;
}

/** Exit status, with --exit-code, where something would change and nothing is wrong with it. */
const CHANGES = 3;

/** Prints what would change in each region, what that does to what runs, and what the policies say of it. Applies nothing.
 *  Exit status 0, 1 where a policy is violated or a change is not safe, 2 where it could not be told; with --exit-code 3
 *  where something would change. */
export async function preview(options: PreviewOptions): Promise<void> {
  const abort = new AbortController();
  const interrupted = () => abort.abort(new Error("interrupted; nothing was changed"));
  process.on("SIGINT", interrupted).on("SIGTERM", interrupted);
  try {
    const previews = await makePreviews(options, abort.signal);
    const format = options.markdown ? "markdown" : options.format;
    const texts = {
      text: () => `${previewText(previews, hasColors())}\n`,
      json: () => previewJson(previews),
      markdown: () => previewMarkdown(previews),
    };
    process.stdout.write(texts[format]());
    const status = exitStatus(previews);
    process.exitCode = status === 0 && options.exitCode && hasChanges(previews) ? CHANGES : status;
  } catch (error) {
    // Whatever ends it before there is a preview: nothing is known then.
    process.exitCode = 2;
    throw error;
  } finally {
    process.off("SIGINT", interrupted).off("SIGTERM", interrupted);
  }
}

/** The previews of all regions asked for. One that fails leaves the others as they are.
 *  @throws Error with bad options; when there is nothing to compare with */
export async function makePreviews(
  options: Omit<PreviewOptions, "format" | "markdown" | "exitCode">,
  signal: AbortSignal,
): Promise<StackPreview[]> {
  const given = options.config === undefined ? undefined : readPolicyConfig(options.config);
  const candidates = await candidatesOf(options, signal);
  const embedded = candidates.some((candidate) => isCandidate(candidate) && candidate.embedded);
  const config = given ?? (embedded ? readPolicyConfig(EMBEDDED_CONFIG) : {});
  const unlocked = [...unlockedIn(config), ...options.unlock];
  const policies = await policyResults(candidates.filter(isCandidate), config, signal);
  const previews: StackPreview[] = [];
  const unknown = new Set(options.unlock);
  for (const candidate of candidates) {
    signal.throwIfAborted();
    if (!isCandidate(candidate)) {
      previews.push(candidate);
      unknown.clear();
      continue;
    }
    const { stack, against } = candidate;
    try {
      const comparison = await candidate.compare();
      const made = compare(stack, comparison, { unlocked, ...policies(stack) });
      const left = unknownUnlocks(stack, [...unknown], [...comparison.before, ...comparison.after], made.changes);
      for (const name of [...unknown]) if (!left.includes(name)) unknown.delete(name);
      previews.push(made);
    } catch (error) {
      signal.throwIfAborted();
      previews.push({ stack, against, error: error instanceof Error ? error.message : String(error) });
      unknown.clear();
    }
  }
  if (unknown.size > 0)
    throw new Error(
      `--unlock: found ${[...unknown].join(", ")}, which is no object of the regions previewed; write it as the preview does, Kind/name`,
    );
  return previews;
}

function candidatesOf(
  { against, regions, instance, contexts }: Pick<PreviewOptions, "against" | "regions" | "instance" | "contexts">,
  signal: AbortSignal,
): Promise<(Candidate | NoCandidate)[]> {
  const live =
    against === "live" ||
    (against === undefined && (contexts !== undefined || loadDeployment(instance).regions.length > 0));
  if (live) return liveCandidates({ instance, regions, contexts, signal });
  if (contexts) throw new Error("--contexts goes with --against live; a revision is compared without a cluster");
  if (against === undefined)
    throw new Error(
      `nothing runs in instance ${instance}: name what to compare with, --against <revision> or --contexts <pairs>`,
    );
  return revisionCandidates(against, { regions, signal });
}

function isCandidate(candidate: Candidate | NoCandidate): candidate is Candidate {
  return "compare" in candidate;
}

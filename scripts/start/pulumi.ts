import { execFile } from "node:child_process";
import { basename } from "node:path";
import { promisify } from "node:util";
import type { DeployedRegion } from "../deployment.ts";
import { type ConfigTree, readStackTree } from "../render/stack-config.ts";
import { type LocalStack, localStack, runPulumi } from "./pulumi-cli.ts";
import { configureStack } from "./pulumi-stack.ts";

const run = promisify(execFile);
/** Pods of a first start on a slow machine come up one after the other. */
const UP_LIMIT_MS = 15 * 60_000;

export interface PulumiCli {
  readonly version: string;
}

/** The Pulumi CLI on PATH, if there is one. */
export async function findPulumi(): Promise<PulumiCli | undefined> {
  try {
    const env = { ...process.env, PULUMI_SKIP_UPDATE_CHECK: "true" };
    const { stdout } = await run("pulumi", ["version"], { timeout: 20_000, env });
    return { version: stdout.trim() };
  } catch {
    return undefined;
  }
}

export interface PulumiUpOptions {
  /** The instance's folder (0700), named like the instance; state, config and key of the stacks go to `pulumi` in it. */
  readonly folder: string;
  readonly signal: AbortSignal;
  /** Is given the last line of the output. */
  readonly onLine: (line: string) => void;
}

/** The stack of a region in the instance's folder. In a cluster of our own, objects that stand there already are taken
 *  over: an engine that was killed, or `kubectl apply` in an earlier start, has made them. */
export function stackOf(place: DeployedRegion, folder: string): LocalStack {
  return localStack(basename(folder), place.region, folder, place.embedded);
}

/** `pulumi up` of one region from here: local state, config of Pulumi.<region>.yaml with the overlays over it. Goes on
 *  after an end at any moment: state is read anew from the cluster first.
 *  @throws Error with the end of the engine's output; after 15 minutes; when the signal aborts, with the state saved */
export async function pulumiUp(
  _cli: PulumiCli,
  place: DeployedRegion,
  overlays: readonly ConfigTree[],
  { folder, signal, onLine }: PulumiUpOptions,
): Promise<void> {
  const stack = stackOf(place, folder);
  await configureStack(stack, readStackTree(place.region, overlays), signal, onLine);
  try {
    await runPulumi(stack, ["up", "--yes", "--skip-preview", "--refresh", "--stack", stack.name], {
      signal,
      timeoutMs: UP_LIMIT_MS,
      onLine,
    });
  } catch (error) {
    if (error instanceof Error && /already exists/i.test(error.message)) {
      throw new Error(
        `${place.region}: objects of the platform stand in namespace ${place.namespace} that this stack has not made; take pulumi off PATH to go on with kubectl, or delete the namespace with its data and start anew`,
        { cause: error },
      );
    }
    throw error;
  }
}

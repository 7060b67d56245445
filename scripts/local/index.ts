import { rm, rmdir } from "node:fs/promises";
import { join } from "node:path";
import type { DaemonName, EdgeTarget } from "./plan/daemons.ts";
import { planInstance, type Instance } from "./plan/instance.ts";
import type { HostPorts } from "./plan/ports.ts";
import { preflight, PreflightError } from "./plan/preflight.ts";
import { planRegion, regionNames, type RegionName, type RegionPlan } from "./plan/regions.ts";
import { readCgroupLayout } from "./effects/cgroup.ts";
import { alivePid, killPids } from "./effects/daemon.ts";
import { stopRegion } from "./effects/down.ts";
import { gatherFacts, osRelease } from "./effects/facts.ts";
import { withLock } from "./effects/files.ts";
import { importArchives, type ImageArchive } from "./effects/images.ts";
import { exists, insideNetwork, setWanLink } from "./effects/network.ts";
import { ensurePrograms, programsAreBuilt, type Toolbox } from "./effects/programs.ts";
import type { OnProgress } from "./effects/progress.ts";
import { kubeconfigFile, writeHostKubeconfig } from "./effects/settings.ts";
import { readStatus, type RegionStatus } from "./effects/status.ts";
import { upRegion } from "./effects/up.ts";

export type { DaemonName, EdgeTarget } from "./plan/daemons.ts";
export type { HostPorts } from "./plan/ports.ts";
export { PreflightError, type Problem } from "./plan/preflight.ts";
export { addresses, clusterDomain, contextName, parseRegion, regionNames, type RegionName } from "./plan/regions.ts";
export type { ImageArchive } from "./effects/images.ts";
export type { OnProgress, ProgressEvent, Step } from "./effects/progress.ts";
export type { RegionStatus } from "./effects/status.ts";

/** Options that every call takes. */
export interface LocalOptions {
  /** Name of the instance. Default `IAM_HA_INSTANCE`, else `default`. */
  readonly instance?: string;
  /** Where the progress goes. Default nowhere. */
  readonly onProgress?: OnProgress;
  /** Ends the call early; what was started goes on running, and the next call goes on from there. */
  readonly signal?: AbortSignal;
}

/** How long a call waits for another one that works on the same region, in milliseconds. */
const LOCK_PATIENCE = 10 * 60_000;

function instanceOf(options: LocalOptions): Instance {
  return planInstance(process.env, options.instance);
}

function planOf(region: RegionName, options: LocalOptions): RegionPlan {
  return planRegion(instanceOf(options), region);
}

async function toolbox(options: LocalOptions): Promise<Toolbox> {
  return await ensurePrograms({
    cache: instanceOf(options).cache,
    debian: (await osRelease()).version,
    signal: options.signal,
    onProgress: (detail, fraction) => options.onProgress?.({ step: "programs", detail, fraction }),
    onPackages: (detail) => options.onProgress?.({ step: "packages", detail }),
  });
}

/**
 * Brings clusters up, all named regions at the same time. What runs already is left alone, what is missing or outdated is
 * started. When it returns, each region's node and DNS are ready.
 *
 * @throws PreflightError with everything that is in the way, before anything is touched.
 */
export async function upRegions(
  regions: readonly RegionName[],
  options: LocalOptions & { readonly edge?: EdgeTarget } = {},
): Promise<void> {
  const onProgress = options.onProgress ?? (() => {});
  const plans = [...new Set(regions)].map((region) => planOf(region, options));
  await checkMachine(plans, options);
  const tools = await toolbox(options);
  const layout = await readCgroupLayout();
  const results = await Promise.allSettled(
    plans.map((plan) =>
      upRegion(plan, { layout, toolbox: tools, edge: options.edge, onProgress, signal: options.signal }),
    ),
  );
  throwFirst(results);
}

async function checkMachine(plans: readonly RegionPlan[], options: LocalOptions): Promise<void> {
  options.onProgress?.({ step: "preflight", detail: "looking at the machine" });
  // A region that runs holds its ports and its memory already.
  const running = await Promise.all(plans.map((plan) => alivePid(plan, "relay")));
  const starting = plans.filter((_, i) => running[i] === undefined);
  const instance = instanceOf(options);
  const facts = await gatherFacts(
    instance,
    starting.flatMap(({ ports }) => Object.values(ports)),
  );
  const building = !(await programsAreBuilt(instance.cache, facts.go));
  const problems = preflight(facts, { starting, building });
  if (problems.length > 0) throw new PreflightError(problems);
}

/**
 * Stops clusters: no process, mount, network namespace or cgroup of theirs is left.
 *
 * @param regions default all.
 * @param options `wipe` also removes all data, for good.
 */
export async function downRegions(
  regions: readonly RegionName[] | "all",
  options: LocalOptions & { readonly wipe?: boolean } = {},
): Promise<void> {
  const layout = await readCgroupLayout();
  const instance = instanceOf(options);
  const plans = (regions === "all" ? regionNames : [...new Set(regions)]).map((region) => planRegion(instance, region));
  const results = await Promise.allSettled(
    plans.map((plan) =>
      withLock(
        join(instance.run, `${plan.region}.lock`),
        { signal: options.signal, timeout: LOCK_PATIENCE },
        async () => {
          options.onProgress?.({ region: plan.region, step: "stop", detail: "stopping" });
          await stopRegion(plan, layout);
          if (options.wipe === true) await rm(plan.state, { recursive: true, force: true });
          options.onProgress?.({ region: plan.region, step: "stop", detail: "stopped" });
        },
      ),
    ),
  );
  if (options.wipe === true && (await exists(instance.state))) {
    const lock = join(instance.state, "kubeconfig.lock");
    const left = await withLock(lock, { signal: options.signal, timeout: LOCK_PATIENCE }, async () => {
      await writeHostKubeconfig(instance);
      return (await Promise.all(regionNames.map((r) => exists(planRegion(instance, r).state)))).some(Boolean);
    });
    if (!left) await rm(instance.state, { recursive: true, force: true });
  }
  // Gone when the last region is down; a folder with anything in it stays.
  await rmdir(instance.run).catch(() => {});
  await rmdir(join(instance.run, "..")).catch(() => {});
  throwFirst(results);
}

function throwFirst(results: readonly PromiseSettledResult<unknown>[]): void {
  const errors = results.flatMap((r) => (r.status === "rejected" ? [r.reason as Error] : []));
  const [only] = errors;
  if (only !== undefined && errors.length === 1) throw only;
  if (errors.length > 1) throw new AggregateError(errors, errors.map((e) => e.message).join("\n"));
}

/** The state of every region of the instance. */
export async function regionStatus(options: LocalOptions = {}): Promise<readonly RegionStatus[]> {
  const layout = await readCgroupLayout();
  return await Promise.all(regionNames.map((region) => readStatus(planOf(region, options), layout)));
}

/** Imports images into a running region, those that are there already excepted. @returns the references imported. */
export async function importImages(
  region: RegionName,
  images: readonly ImageArchive[],
  options: LocalOptions = {},
): Promise<readonly string[]> {
  const { programs } = await toolbox(options);
  return await importArchives(planOf(region, options), programs, images, {
    signal: options.signal,
    onImported: (ref) => options.onProgress?.({ region, step: "images", detail: ref }),
  });
}

/** The project's own kubectl, built if need be: the version of the clusters. */
export async function kubectlPath(options: LocalOptions = {}): Promise<string> {
  return join((await toolbox(options)).programs.kube, "kubectl");
}

/** Kubeconfig for the host, mode 0600, with a context `iam-ha-<region>` for every region that was ever up. */
export function kubeconfigPath(options: LocalOptions = {}): string {
  return kubeconfigFile(instanceOf(options));
}

/** Ports on 127.0.0.1 that lead into the region. */
export function hostPorts(region: RegionName, options: LocalOptions = {}): HostPorts {
  return planOf(region, options).ports;
}

/**
 * Runs a command on the host's file system with the region's network: `["curl", "-k", "https://10.111.0.1"]`.
 *
 * @param options `timeout` in milliseconds, default 30 000.
 * @returns its standard output. @throws CommandError unless it ends with 0.
 */
export async function runInRegion(
  region: RegionName,
  argv: readonly [string, ...string[]],
  options: LocalOptions & { readonly timeout?: number } = {},
): Promise<string> {
  const [command, ...args] = argv;
  return await insideNetwork(planOf(region, options), command, args, options.timeout);
}

/** Cuts a region off from the other regions (`false`) or joins it again (`true`). Access from the host stays. */
export async function setRegionLink(region: RegionName, up: boolean, options: LocalOptions = {}): Promise<void> {
  await setWanLink(planOf(region, options), up);
}

/** Kills a daemon with SIGKILL; `upRegions` starts it again. @returns false when it was not running. */
export async function killDaemon(region: RegionName, name: DaemonName, options: LocalOptions = {}): Promise<boolean> {
  const pid = await alivePid(planOf(region, options), name);
  if (pid === undefined) return false;
  await killPids([pid]);
  return true;
}

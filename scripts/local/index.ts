import { rm, rmdir } from "node:fs/promises";
import { join } from "node:path";
import type { DaemonName, EdgeTarget } from "./plan/daemons.ts";
import { planInstance, type Instance } from "./plan/instance.ts";
import type { HostPorts } from "./plan/ports.ts";
import { preflight, PreflightError } from "./plan/preflight.ts";
import { planRegion, regionNames, type RegionName, type RegionPlan } from "./plan/regions.ts";
import { directions, directionsOf, planWan, type Direction, type LinkSettings, type WanState } from "./plan/wan.ts";
import { readCgroupLayout } from "./effects/cgroup.ts";
import { alivePid, killPids } from "./effects/daemon.ts";
import { stopRegion } from "./effects/down.ts";
import { gatherFacts, osRelease } from "./effects/facts.ts";
import { exists, withLock } from "./effects/files.ts";
import { importArchives, type ImageArchive } from "./effects/images.ts";
import { insideNetwork } from "./effects/network.ts";
import { ensurePrograms, programsAreBuilt, type Toolbox } from "./effects/programs.ts";
import type { OnProgress } from "./effects/progress.ts";
import { kubeconfigFile, writeHostKubeconfig } from "./effects/settings.ts";
import { readStatus, type RegionStatus } from "./effects/status.ts";
import { upRegion } from "./effects/up.ts";
import { askWan, readWanFile } from "./effects/wan.ts";

export { PLATFORM } from "./plan/configs.ts";
export type { DaemonName, EdgeTarget } from "./plan/daemons.ts";
export type { HostPorts } from "./plan/ports.ts";
export { PreflightError, type Problem } from "./plan/preflight.ts";
export { addresses, clusterDomain, contextName, parseRegion, regionNames, type RegionName } from "./plan/regions.ts";
export {
  directionsOf,
  wanTable,
  type Direction,
  type LinkSettings,
  type WanLinkState,
  type WanState,
} from "./plan/wan.ts";
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

/** What came of bringing several regions up. */
export interface UpResult {
  readonly up: readonly RegionName[];
  /** Those that failed; none of them undoes another one. */
  readonly failed: readonly { readonly region: RegionName; readonly error: Error }[];
}

/**
 * Brings clusters up, all named regions at the same time. What runs already is left alone, what is missing or outdated is
 * started. When it returns, the node and the DNS of each region that is up are ready.
 *
 * @throws PreflightError with everything that is in the way, before anything is touched.
 */
export async function bringRegionsUp(
  regions: readonly RegionName[],
  options: LocalOptions & { readonly edge?: EdgeTarget } = {},
): Promise<UpResult> {
  const onProgress = options.onProgress ?? (() => {});
  const plans = [...new Set(regions)].map((region) => planOf(region, options));
  const links = await readWanFile();
  await checkMachine(plans, options);
  const tools = await toolbox(options);
  const layout = await readCgroupLayout();
  const { edge, signal } = options;
  const results = await Promise.allSettled(
    plans.map((plan) => upRegion(plan, { layout, links, toolbox: tools, edge, onProgress, signal })),
  );
  signal?.throwIfAborted();
  return {
    up: plans.flatMap(({ region }, i) => (results[i]!.status === "fulfilled" ? [region] : [])),
    failed: plans.flatMap(({ region }, i) => {
      const result = results[i]!;
      return result.status === "rejected" ? [{ region, error: result.reason as Error }] : [];
    }),
  };
}

/** The same, for whoever needs all of them. @throws Error with the error of each region that failed. */
export async function upRegions(...args: Parameters<typeof bringRegionsUp>): Promise<void> {
  const { failed } = await bringRegionsUp(...args);
  throwAll(failed.map(({ error }) => error));
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
  throwAll(results.flatMap((r) => (r.status === "rejected" ? [r.reason as Error] : [])));
}

function throwAll(errors: readonly Error[]): void {
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

/** Reference of the image of CoreDNS, which every region's containerd has, built if need be. */
export async function dnsImage(options: LocalOptions = {}): Promise<string> {
  return (await toolbox(options)).coredns.ref;
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

/**
 * Asks a region's DNS, as its pods do.
 *
 * @returns the addresses. @throws CommandError when there is no answer in 2 s, or no such name.
 */
export async function lookupInRegion(
  region: RegionName,
  name: string,
  options: LocalOptions = {},
): Promise<readonly string[]> {
  const { programs } = await toolbox(options);
  const plan = planOf(region, options);
  const answer = await insideNetwork(plan, programs.hostkit, ["lookup", `${plan.dnsService}:53`, name]);
  return answer.trim().split(/\s+/);
}

/** How the links between regions stand.
 *  @throws Error when no region of the instance runs */
export async function wanState(options: LocalOptions = {}): Promise<WanState> {
  return await askWan(planWan(instanceOf(options)), { op: "show" });
}

/** Cuts a region off from all others, both ways; with `to`, only what it sends to that one. Packets vanish without a
 *  word, as on a real network. Access from the host stays. */
export async function cutRegion(
  region: RegionName,
  options: LocalOptions & { readonly to?: RegionName } = {},
): Promise<WanState> {
  return await askWan(planWan(instanceOf(options)), { op: "cut", links: directionsOf(region, options.to) });
}

/** Takes a region's cuts back; without a region, all cuts. */
export async function mendRegion(
  region?: RegionName,
  options: LocalOptions & { readonly to?: RegionName } = {},
): Promise<WanState> {
  const links = region === undefined ? directions : directionsOf(region, options.to);
  return await askWan(planWan(instanceOf(options)), { op: "mend", links });
}

/** Changes delay, jitter or loss of some directions; what is not given stays. It lasts until `resetWan`, or until the
 *  last region stops. */
export async function setWan(
  links: readonly Direction[],
  settings: Partial<LinkSettings>,
  options: LocalOptions = {},
): Promise<WanState> {
  return await askWan(planWan(instanceOf(options)), { op: "set", links, ...settings });
}

/** Takes every cut and every change back. */
export async function resetWan(options: LocalOptions = {}): Promise<WanState> {
  return await askWan(planWan(instanceOf(options)), { op: "reset" });
}

/** Kills a daemon with SIGKILL; `upRegions` starts it again. @returns false when it was not running. */
export async function killDaemon(region: RegionName, name: DaemonName, options: LocalOptions = {}): Promise<boolean> {
  const pid = await alivePid(planOf(region, options), name);
  if (pid === undefined) return false;
  await killPids([pid]);
  return true;
}

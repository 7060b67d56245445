import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { connect } from "node:net";
import type { CgroupLayout } from "../plan/cgroups.ts";
import { daemonArgv, daemonNames, needsApi, type DaemonName, type EdgeTarget } from "../plan/daemons.ts";
import type { Programs } from "../plan/configs.ts";
import { systemObjects } from "../plan/manifests.ts";
import { isShim, strays } from "../plan/process.ts";
import type { RegionPlan } from "../plan/regions.ts";
import type { Direction, LinkSettings } from "../plan/wan.ts";
import { openApi, waitFor, type Api } from "./api.ts";
import { daemonProcesses, makeCgroup } from "./cgroup.ts";
import { alivePid, ensureDaemon, killPids, mountsReady } from "./daemon.ts";
import { stopRegion } from "./down.ts";
import { exists, readIfThere, withLock } from "./files.ts";
import { importArchives } from "./images.ts";
import { ensureNetwork, insideNetwork, isInNetwork } from "./network.ts";
import type { Toolbox } from "./programs.ts";
import type { OnProgress, Step } from "./progress.ts";
import { writeHostKubeconfig, writeSettings, type Fingerprints } from "./settings.ts";

export interface UpOptions {
  readonly layout: CgroupLayout;
  /** What the links to the other regions are like. */
  readonly links: readonly (Direction & LinkSettings)[];
  readonly toolbox: Toolbox;
  readonly edge?: EdgeTarget;
  readonly onProgress: OnProgress;
  readonly signal?: AbortSignal;
}

/** How long each stage may take on a slow machine with everything else going on, in milliseconds. */
const PATIENCE = { lock: 10 * 60_000, socket: 60_000, api: 3 * 60_000, node: 3 * 60_000, dns: 3 * 60_000 };

/** Brings one region up, starting only what is missing or outdated. */
export async function upRegion(plan: RegionPlan, options: UpOptions): Promise<void> {
  const tell = (step: Step, detail: string) => options.onProgress({ region: plan.region, step, detail });
  const lock = {
    signal: options.signal,
    timeout: PATIENCE.lock,
    onWait: () => tell("network", "waiting for another run"),
  };
  await withLock(join(plan.instance.run, `${plan.region}.lock`), lock, async () => {
    await clearStale(plan, options.layout);
    await endStrays(plan, options.layout);
    tell("network", "namespace and links");
    const { programs, pause, coredns } = options.toolbox;
    const { layout, links, signal } = options;
    await ensureNetwork(plan, { layout, links, programs, signal });
    tell("certificates", "certificates and settings");
    const images = { pause: pause.ref, coredns: coredns.ref };
    const fingerprints = await writeSettings(plan, programs, images, options.edge);
    await withLock(join(plan.instance.state, "kubeconfig.lock"), lock, () => writeHostKubeconfig(plan.instance));

    const daemons = new Daemons(plan, options, fingerprints, await makeCgroup(options.layout, plan.cgroup));
    tell("daemons", "etcd, containerd, API server");
    await daemons.start("namespace");
    for (const name of daemonNames) if (name !== "namespace" && !needsApi.has(name)) await daemons.start(name);
    const imported = importSystemImages(plan, options, daemons);
    imported.catch(() => {}); // awaited below, but an error before that must not go unheard there

    tell("api", "waiting for the API server");
    const api = await openApi(plan);
    await waitFor(`${plan.region}'s API server`, PATIENCE.api, async () => ok(await api.get("/readyz")), {
      signal: options.signal,
      check: () => daemons.check(["etcd", "relay", "kube-apiserver"]),
    });
    tell("daemons", "controllers, kubelet, proxy");
    const kubeletSince = Date.now();
    const started = new Set<DaemonName>();
    for (const name of daemonNames) if (needsApi.has(name) && (await daemons.start(name))) started.add(name);
    for (const object of systemObjects(plan, images)) await api.apply(object);
    await imported;

    tell("node", "waiting for the node");
    await waitFor(
      `${plan.region}'s node`,
      PATIENCE.node,
      () => nodeReady(api, plan, started.has("kubelet") ? kubeletSince : 0),
      {
        signal: options.signal,
        check: () => daemons.check(daemonNames),
      },
    );
    tell("dns", "waiting for DNS");
    await waitFor(`${plan.region}'s DNS`, PATIENCE.dns, () => dnsReady(plan, programs, api), {
      signal: options.signal,
      check: () => daemons.check(daemonNames),
    });
    tell("ready", "ready");
  });
}

/**
 * Processes of the region whose network namespace is no longer the one of that name (somebody removed it) can't be
 * joined by new ones: they are stopped, the data stays.
 */
async function clearStale(plan: RegionPlan, layout: CgroupLayout): Promise<void> {
  const pid = await alivePid(plan, "etcd");
  const stale = pid !== undefined && !(await isInNetwork(plan, pid));
  if (stale) await stopRegion(plan, layout);
}

async function endStrays(plan: RegionPlan, layout: CgroupLayout): Promise<void> {
  const known = await knownPids(plan);
  await killPids(strays(await daemonProcesses(layout, plan.cgroup), new Set(known)));
}

/** Processes of the daemons that are alive, by their records. */
async function knownPids(plan: RegionPlan): Promise<readonly number[]> {
  return (await Promise.all(daemonNames.map((name) => alivePid(plan, name)))).filter((pid) => pid !== undefined);
}

async function importSystemImages(plan: RegionPlan, options: UpOptions, daemons: Daemons): Promise<void> {
  await waitFor(`${plan.region}'s containerd`, PATIENCE.socket, () => accepts(plan.containerdSocket), {
    signal: options.signal,
    check: () => daemons.check(["containerd"]),
  });
  const { toolbox, signal, onProgress } = options;
  onProgress({ region: plan.region, step: "images", detail: "the cluster's own images" });
  await importArchives(plan, toolbox.programs, [toolbox.pause, toolbox.coredns], { signal });
}

/** The daemons of one region during its start. */
class Daemons {
  readonly #plan: RegionPlan;
  readonly #options: UpOptions;
  readonly #fingerprints: Fingerprints;
  readonly #cgroupProcs: string;
  readonly #argv: Readonly<Record<DaemonName, readonly string[]>>;

  constructor(plan: RegionPlan, options: UpOptions, fingerprints: Fingerprints, cgroupProcs: string) {
    this.#plan = plan;
    this.#options = options;
    this.#fingerprints = fingerprints;
    this.#cgroupProcs = cgroupProcs;
    this.#argv = daemonArgv(plan, options.toolbox.programs);
  }

  /** @returns whether it had to be started. */
  async start(name: DaemonName): Promise<boolean> {
    const plan = this.#plan;
    // Any process of the region that stays leads to its mounts, be it a shim that outlived all daemons.
    const shims = (await daemonProcesses(this.#options.layout, plan.cgroup)).filter(isShim).map(({ pid }) => pid);
    const mountsOf = [...(await knownPids(plan)), ...shims][0];
    if (mountsOf === undefined) {
      await rm(mountsReady(plan), { force: true });
      for (const folder of [plan.volumes]) await mkdir(folder, { recursive: true, mode: 0o711 });
    }
    const { started } = await ensureDaemon({
      plan,
      programs: this.#options.toolbox.programs,
      name,
      argv: this.#argv[name],
      fingerprint: this.#fingerprints[name],
      cgroupProcs: this.#cgroupProcs,
      mountsOf,
    });
    if (mountsOf !== undefined) return started;
    await waitFor(
      `${plan.region}'s mounts`,
      PATIENCE.socket,
      async () => (await exists(mountsReady(plan))) || undefined,
      {
        signal: this.#options.signal,
        interval: 20,
        check: () => this.check([name]),
      },
    );
    return started;
  }

  /** @throws Error with the end of the log when one of them has ended. */
  async check(names: readonly DaemonName[]): Promise<void> {
    for (const name of names) {
      if ((await alivePid(this.#plan, name)) !== undefined) continue;
      const path = join(this.#plan.logs, `${name}.log`);
      const end = ((await readIfThere(path)) ?? "").trim().split("\n").slice(-3).join("\n");
      throw new Error(`${this.#plan.region}: ${name} has ended. The end of ${path}:\n${end}`);
    }
  }
}

function ok(answer: { readonly status: number }): true | undefined {
  return answer.status === 200 ? true : undefined;
}

/** @param since when the kubelet was started: what an earlier one has said counts no more. */
async function nodeReady(api: Api, plan: RegionPlan, since: number): Promise<true | undefined> {
  const { status, body } = await api.get(`/api/v1/nodes/${plan.region}`);
  if (status !== 200) return undefined;
  const node = JSON.parse(body) as {
    status?: { conditions?: { type: string; status: string; lastHeartbeatTime: string }[] };
  };
  const ready = node.status?.conditions?.find((c) => c.type === "Ready" && c.status === "True");
  // The API gives whole seconds.
  return ready !== undefined && Date.parse(ready.lastHeartbeatTime) + 1_000 > since ? true : undefined;
}

/** The current version answers: asked by its service's address, so that kube-proxy has done its part as well. */
async function dnsReady(plan: RegionPlan, programs: Programs, api: Api): Promise<true | undefined> {
  const { status, body } = await api.get("/apis/apps/v1/namespaces/kube-system/deployments/coredns");
  if (status !== 200) return undefined;
  const { metadata, status: seen } = JSON.parse(body) as {
    metadata: { generation: number };
    status?: { observedGeneration?: number; updatedReplicas?: number; readyReplicas?: number };
  };
  if (seen?.observedGeneration !== metadata.generation || seen.updatedReplicas !== 1 || !seen.readyReplicas)
    return undefined;
  const question = [`${plan.dnsService}:53`, `kubernetes.default.svc.${plan.domain}`];
  const answer = await insideNetwork(plan, programs.hostkit, ["lookup", ...question]);
  return answer.trim() === plan.apiService || undefined;
}

async function accepts(socket: string): Promise<true | undefined> {
  return await new Promise((resolve) => {
    const connection = connect(socket);
    connection.once("connect", () => resolve(true)).once("error", () => resolve(undefined));
    connection.once("close", () => connection.destroy());
    connection.once("connect", () => connection.end());
  });
}

import { rm } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import type { CgroupLayout } from "../plan/cgroups.ts";
import { stopOrder, type DaemonName } from "../plan/daemons.ts";
import type { RegionPlan } from "../plan/regions.ts";
import { daemonPids, podPids, removeCgroup } from "./cgroup.ts";
import { alivePid, forgetRecord, gone, killPids, signalAll, stopPids } from "./daemon.ts";
import { readIfThere } from "./files.ts";
import { removeNetwork } from "./network.ts";

/** Time for daemons and for pods to end by themselves, in milliseconds. */
const DAEMON_PATIENCE = 3_000;
const POD_PATIENCE = 8_000;

/** Stops a region: its processes, mounts, network namespace and cgroups are gone afterwards, its data stays. */
export async function stopRegion(plan: RegionPlan, layout: CgroupLayout): Promise<void> {
  const [first, ...rest] = stopOrder;
  await stopDaemons(plan, first!);
  await stopPods(plan, layout);
  for (const group of rest) await stopDaemons(plan, group);
  // Whatever else was started in the region's name: shims without their containerd, a daemon whose record was lost.
  await killAll(async () => [...(await podPids(layout, plan.cgroup)), ...(await daemonPids(layout, plan.cgroup))]);
  await removeNetwork(plan, layout);
  await removeCgroup(layout, plan.cgroup);
  await rm(plan.run, { recursive: true, force: true });
}

async function stopDaemons(plan: RegionPlan, names: readonly DaemonName[]): Promise<void> {
  const pids = (await Promise.all(names.map((name) => alivePid(plan, name)))).filter((pid) => pid !== undefined);
  await stopPids(pids, DAEMON_PATIENCE);
  for (const name of names) await forgetRecord(plan, name);
}

/**
 * Asks the first process of each container to end, as the kubelet would, so that databases write what they have; kills
 * what is left. The kubelet itself is gone by now and starts nothing again.
 */
async function stopPods(plan: RegionPlan, layout: CgroupLayout): Promise<void> {
  const pids = await podPids(layout, plan.cgroup);
  const first = (await Promise.all(pids.map(async (pid) => ((await isContainersFirst(pid)) ? [pid] : [])))).flat();
  signalAll(first, "SIGTERM");
  await gone(first, POD_PATIENCE);
  await killAll(() => podPids(layout, plan.cgroup));
}

async function isContainersFirst(pid: number): Promise<boolean> {
  const status = (await readIfThere(`/proc/${pid}/status`)) ?? "";
  // One number per process namespace, the innermost last.
  const numbers = /^NSpid:\s+(.*)$/m.exec(status)?.[1]?.split(/\s+/) ?? [];
  return numbers.length > 1 && numbers.at(-1) === "1";
}

/** Kills until a look finds nobody: a process may have started another in between. */
async function killAll(list: () => Promise<readonly number[]>): Promise<void> {
  for (let i = 0; i < 20; i++) {
    const pids = await list();
    if (pids.length === 0) return;
    await killPids(pids);
    await sleep(50);
  }
  throw new Error(`Processes keep starting others: ${(await list()).join(", ")}.`);
}

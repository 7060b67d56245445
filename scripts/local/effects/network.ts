import { readlink, stat } from "node:fs/promises";
import { join } from "node:path";
import type { CgroupLayout } from "../plan/cgroups.ts";
import { routes } from "../plan/daemons.ts";
import { planRegion, regionNames, WAN_LINK, WAN_PREFIX, type RegionPlan } from "../plan/regions.ts";
import { planWan } from "../plan/wan.ts";
import { exists, withLock } from "./files.ts";
import { run } from "./run.ts";
import { ensureWan, letGo, stopWan, type WanStart } from "./wan.ts";

/** Regions come and go on a network that they share: only one at a time touches it. */
async function withWan<T>(plan: RegionPlan, work: () => Promise<T>): Promise<T> {
  return await withLock(join(plan.instance.run, "wan.lock"), { timeout: 2 * 60_000 }, work);
}

/** Makes a region's network namespace and its end of the network between regions, as far as they are missing, and sees
 *  to it that the emulator runs and has taken the region up. */
export async function ensureNetwork(plan: RegionPlan, wan: WanStart): Promise<void> {
  await withWan(plan, async () => {
    await makeNetwork(plan);
    await ensureWan(planWan(plan.instance), wan, plan.region);
  });
}

async function makeNetwork(plan: RegionPlan): Promise<void> {
  const ns = plan.netns;
  if (!(await exists(plan.netnsPath))) await run("ip", ["netns", "add", ns]);
  await insideNetwork(plan, "/bin/sh", [
    "-euc",
    // Bridged traffic between pods has to pass iptables, or a service whose pod is on the same bridge would answer
    // from the pod's address. Reverse path filtering would drop what comes back through the network between regions.
    `echo 1 > /proc/sys/net/ipv4/ip_forward
     echo 1 > /proc/sys/net/bridge/bridge-nf-call-iptables
     echo 0 > /proc/sys/net/ipv4/conf/all/rp_filter
     echo 0 > /proc/sys/net/ipv4/conf/default/rp_filter`,
  ]);
  if (!(await isTun(ns, WAN_LINK))) {
    await run("ip", ["-n", ns, "link", "del", WAN_LINK]).catch(() => {}); // of another kind, or not there
    // Persistent: addresses and routes stay while the emulator is away.
    await run("ip", ["-n", ns, "tuntap", "add", "dev", WAN_LINK, "mode", "tun"]);
  }
  await batch(ns, [
    "link set lo up",
    `addr replace ${plan.node}/${WAN_PREFIX} dev ${WAN_LINK}`,
    `link set ${WAN_LINK} up txqueuelen 2000`,
    ...routes(plan).map((words) => `route replace ${words.join(" ")}`),
  ]);
}

/** Removes a region's network, and ends the emulator when no region is left. */
export async function removeNetwork(plan: RegionPlan, layout: CgroupLayout): Promise<void> {
  await withWan(plan, async () => {
    if (await exists(plan.netnsPath)) await run("ip", ["netns", "del", plan.netns]);
    const others = await Promise.all(regionNames.map((region) => exists(planRegion(plan.instance, region).netnsPath)));
    const wan = planWan(plan.instance);
    if (others.some(Boolean)) await letGo(wan);
    else await stopWan(wan, layout);
  });
}

/** Runs a command with the region's network and the host's everything else. */
export async function insideNetwork(
  plan: RegionPlan,
  command: string,
  args: readonly string[],
  timeout = 30_000,
): Promise<string> {
  return await run("nsenter", [`--net=${plan.netnsPath}`, command, ...args], { timeout });
}

/** Whether a process lives in the network namespace that now has the region's name. */
export async function isInNetwork(plan: RegionPlan, pid: number): Promise<boolean> {
  try {
    const link = await readlink(`/proc/${pid}/ns/net`);
    return link === `net:[${(await stat(plan.netnsPath)).ino}]`;
  } catch {
    return false;
  }
}

async function isTun(netns: string, link: string): Promise<boolean> {
  try {
    const text = await run("ip", ["-n", netns, "-d", "-j", "link", "show", "dev", link]);
    return (JSON.parse(text) as { linkinfo?: { info_kind?: string } }[])[0]?.linkinfo?.info_kind === "tun";
  } catch {
    return false;
  }
}

async function batch(netns: string, lines: readonly string[]): Promise<void> {
  await run("ip", ["-n", netns, "-batch", "-"], { input: `${lines.join("\n")}\n` });
}

import { lstat, readlink, stat } from "node:fs/promises";
import { join } from "node:path";
import { routes } from "../plan/daemons.ts";
import { WAN_PREFIX, WAN_ROUTER, type RegionPlan } from "../plan/regions.ts";
import { withLock } from "./files.ts";
import { run } from "./run.ts";

/** Link of a region to the bridge, seen from the region. */
const WAN_LINK = "wan0";

/** Makes the bridge between the regions of an instance. It joins nothing else: no default route, no translation. */
async function ensureWan(plan: RegionPlan): Promise<void> {
  const ns = plan.wanNetns;
  if (await hasLink(ns, "br0")) return;
  if (await exists(`/run/netns/${ns}`)) await run("ip", ["netns", "del", ns]); // half-made
  await run("ip", ["netns", "add", ns]);
  await batch(ns, [
    "link set lo up",
    "link add br0 type bridge",
    `addr add ${WAN_ROUTER}/${WAN_PREFIX} dev br0`,
    "link set br0 up",
  ]);
}

/** The bridge is shared: of two regions that come and go, only one at a time touches it. */
async function withWan<T>(plan: RegionPlan, work: () => Promise<T>): Promise<T> {
  return await withLock(join(plan.instance.run, "wan.lock"), { timeout: 2 * 60_000 }, work);
}

/** Makes a region's network namespace and its link to the bridge, as far as they are missing. */
export async function ensureNetwork(plan: RegionPlan): Promise<void> {
  await withWan(plan, () => makeNetwork(plan));
}

async function makeNetwork(plan: RegionPlan): Promise<void> {
  await ensureWan(plan);
  const ns = plan.netns;
  if (!(await exists(plan.netnsPath))) await run("ip", ["netns", "add", ns]);
  await insideNetwork(plan, "/bin/sh", [
    "-euc",
    // Bridged traffic between pods has to pass iptables, or a service whose pod is on the same bridge would answer
    // from the pod's address. Reverse path filtering would drop what comes back through the bridge.
    `echo 1 > /proc/sys/net/ipv4/ip_forward
     echo 1 > /proc/sys/net/bridge/bridge-nf-call-iptables
     echo 0 > /proc/sys/net/ipv4/conf/all/rp_filter
     echo 0 > /proc/sys/net/ipv4/conf/default/rp_filter`,
  ]);
  if (!(await hasLink(ns, WAN_LINK))) {
    if (await hasLink(plan.wanNetns, plan.region)) {
      await run("ip", ["-n", plan.wanNetns, "link", "del", plan.region]);
    }
    await run("ip", [
      "-n",
      ns,
      "link",
      "add",
      WAN_LINK,
      "type",
      "veth",
      "peer",
      "name",
      plan.region,
      "netns",
      plan.wanNetns,
    ]);
  }
  await batch(ns, [
    "link set lo up",
    `addr replace ${plan.node}/${WAN_PREFIX} dev ${WAN_LINK}`,
    `link set ${WAN_LINK} up`,
  ]);
  await batch(plan.wanNetns, [
    `link set ${plan.region} master br0`,
    `link set ${plan.region} up`,
    `route replace ${plan.podCidr} via ${plan.node}`,
    `route replace ${plan.serviceCidr} via ${plan.node}`,
  ]);
  await batch(
    ns,
    routes(plan).map((words) => `route replace ${words.join(" ")}`),
  );
}

/** Removes a region's network, and the bridge when no region is left on it. */
export async function removeNetwork(plan: RegionPlan): Promise<void> {
  await withWan(plan, async () => {
    if (await exists(plan.netnsPath)) await run("ip", ["netns", "del", plan.netns]);
    if (!(await exists(`/run/netns/${plan.wanNetns}`))) return;
    // The kernel takes the link away with the namespace at its other end, but in its own time.
    await run("ip", ["-n", plan.wanNetns, "link", "del", plan.region]).catch(() => {});
    if (await hasLink(plan.wanNetns, plan.region))
      throw new Error(`The link of ${plan.region} to the bridge can't be removed.`);
    const links = await run("ip", ["-n", plan.wanNetns, "-o", "link", "show", "type", "veth"]);
    if (links.trim() === "") await run("ip", ["netns", "del", plan.wanNetns]);
  });
}

/**
 * Cuts a region off from the others, or joins it again. It is done at the bridge's end: taking the region's own end down
 * would flush its routes.
 */
export async function setWanLink(plan: RegionPlan, up: boolean): Promise<void> {
  await run("ip", ["-n", plan.wanNetns, "link", "set", plan.region, up ? "up" : "down"]);
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

export async function exists(path: string): Promise<boolean> {
  return await lstat(path).then(
    () => true,
    () => false,
  );
}

async function hasLink(netns: string, link: string): Promise<boolean> {
  return await run("ip", ["-n", netns, "link", "show", "dev", link]).then(
    () => true,
    () => false,
  );
}

async function batch(netns: string, lines: readonly string[]): Promise<void> {
  await run("ip", ["-n", netns, "-batch", "-"], { input: `${lines.join("\n")}\n` });
}

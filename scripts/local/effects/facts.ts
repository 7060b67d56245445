import { mkdtemp, mkdir, readFile, rm, statfs } from "node:fs/promises";
import { createServer } from "node:net";
import { delimiter, dirname, join } from "node:path";
import { tmpdir } from "node:os";
import type { Instance } from "../plan/instance.ts";
import { compareVersions, kernelFeatures, type Facts, type KernelFeature } from "../plan/preflight.ts";
import { cgroupLayout } from "../plan/cgroups.ts";
import { exists, readIfThere } from "./files.ts";
import { SYSTEM_PATH } from "./packages.ts";
import { run } from "./run.ts";

const MODULES = ["kube", "coredns", "hostkit"];

/** Looks at the machine. Features of the kernel are tried out, in a namespace that ends with the try. */
export async function gatherFacts(instance: Instance, portsToTry: readonly number[]): Promise<Facts> {
  const layout = cgroupLayout(await readFile("/proc/self/mounts", "utf8"));
  const controllers = layout?.version === 2 ? await readFile(join(layout.root, "cgroup.controllers"), "utf8") : "";
  return {
    platform: process.platform,
    arch: process.arch,
    os: await osRelease(),
    uid: process.getuid?.() ?? -1,
    memoryAvailable: memoryAvailable(await readFile("/proc/meminfo", "utf8")),
    disks: [await disk("state", instance.state), await disk("cache", instance.cache)],
    cgroups: layout,
    cgroupControllers: controllers.trim().split(/\s+/),
    kernel: await tryKernel(),
    go: await run("go", ["env", "GOVERSION"]).then(
      (text) => text.trim(),
      () => undefined,
    ),
    goWanted: await goWanted(),
    portsInUse: (await Promise.all(portsToTry.map(async (port) => ((await isFree(port)) ? [] : [port])))).flat(),
  };
}

/** ID and VERSION_ID of the distribution. */
export async function osRelease(): Promise<{ readonly id: string; readonly version: string }> {
  const text = (await readIfThere("/etc/os-release")) ?? "";
  const field = (name: string) => new RegExp(`^${name}="?([^"\n]*)"?$`, "m").exec(text)?.[1] ?? "";
  return { id: field("ID"), version: field("VERSION_ID") };
}

function memoryAvailable(meminfo: string): number {
  return Number(/^MemAvailable:\s+(\d+) kB$/m.exec(meminfo)?.[1] ?? 0) * 1024;
}

async function disk(use: "state" | "cache", path: string): Promise<Facts["disks"][number]> {
  let folder = path;
  while (!(await exists(folder)) && folder !== "/") folder = dirname(folder);
  const { bavail, bsize } = await statfs(folder);
  const type = await run("stat", ["--file-system", "--format=%T", folder]).then(
    (text) => text.trim(),
    () => "unknown",
  );
  return { use, path, free: bavail * bsize, type: type === "overlayfs" ? "overlay" : type };
}

/** The highest `go` line among the modules that may have to be built. */
async function goWanted(): Promise<string> {
  const files = await Promise.all(
    MODULES.map((name) => readFile(join(import.meta.dirname, "..", name, "go.mod"), "utf8")),
  );
  const versions = files.map((text) => /^go (\S+)$/m.exec(text)?.[1] ?? "0");
  return versions.reduce((a, b) => (compareVersions(a, b) >= 0 ? a : b));
}

async function isFree(port: number): Promise<boolean> {
  return await new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen({ host: "127.0.0.1", port, exclusive: true }, () => server.close(() => resolve(true)));
  });
}

/** How each feature is tried, in a shell with a network and mount namespace of its own, and $1 an empty folder. */
const TRIES: Readonly<Record<KernelFeature, string>> = {
  "network namespaces": "true",
  veth: "ip link add t0 type veth peer name t1",
  bridge: "ip link add t2 type bridge",
  "TUN devices": "ip tuntap add dev t3 mode tun",
  "bridge-nf-call-iptables": "modprobe -q br_netfilter || true; echo 1 > /proc/sys/net/bridge/bridge-nf-call-iptables",
  overlayfs: 'mount -t overlay overlay -o "lowerdir=$1/l,upperdir=$1/u,workdir=$1/w" "$1/m"',
  // Programs that the start would install are not needed for the look itself: without them the try is left out.
  "iptables nat":
    "command -v iptables >/dev/null || exit 0; iptables -t nat -N T && iptables -t nat -A T -j MASQUERADE",
  "iptables statistic and comment matches":
    "command -v iptables >/dev/null || exit 0; iptables -N T && iptables -A T -m comment --comment t -m statistic --mode random --probability 0.5 -j RETURN",
};

async function tryKernel(): Promise<Facts["kernel"]> {
  const reasons: Partial<Record<KernelFeature, string>> = {};
  if (process.getuid?.() !== 0) return reasons as Facts["kernel"]; // nothing can be tried; the missing root is said
  const folder = await mkdtemp(join(tmpdir(), "iam-ha-preflight-"));
  try {
    // On a file system in memory: the one of /tmp may itself be an overlay, which can't carry another.
    const prepare = 'mount -t tmpfs none "$1"; mkdir "$1/l" "$1/u" "$1/w" "$1/m"';
    const env = { ...process.env, PATH: [...SYSTEM_PATH, process.env.PATH ?? ""].join(delimiter) };
    await mkdir(folder, { recursive: true });
    for (const feature of kernelFeatures) {
      const script = `${prepare}; ${TRIES[feature]}`;
      try {
        await run("unshare", ["--net", "--mount", "/bin/sh", "-euc", script, "try", folder], { env, timeout: 15_000 });
      } catch (error) {
        reasons[feature] = (error as Error).message.split("\n").at(-1)!;
      }
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
  return reasons as Facts["kernel"];
}

import { mkdir, readdir, readFile, rmdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { cgroupLayout, trackingRoot, type CgroupLayout } from "../plan/cgroups.ts";
import { parseStat, type SeenProcess } from "../plan/process.ts";
import { readIfThere } from "./files.ts";

/** Folder below a region's cgroup that holds everything but the pods. */
const DAEMONS = "daemons";

export async function readCgroupLayout(): Promise<CgroupLayout> {
  const layout = cgroupLayout(await readFile("/proc/self/mounts", "utf8"));
  if (layout === undefined) throw new Error("No control groups are mounted at /sys/fs/cgroup.");
  return layout;
}

/**
 * Makes a region's cgroup. The kubelet wants it there with all controllers it uses.
 *
 * @returns the file to which a process writes its id to become one of the region's daemons.
 */
export async function makeCgroup(layout: CgroupLayout, path: string): Promise<string> {
  if (layout.version === 2) {
    const own = join(layout.root, path);
    await mkdir(own, { recursive: true });
    // A controller has to be handed down level by level, and only by folders that hold no process themselves.
    await enableControllers(layout.root);
    await enableControllers(own);
  } else {
    for (const { root, controllers } of layout.hierarchies) {
      await mkdir(join(root, path), { recursive: true });
      if (!controllers.includes("cpuset")) continue;
      // A new cpuset is empty, and nothing can run in an empty one.
      for (const file of ["cpuset.cpus", "cpuset.mems"]) {
        await writeFile(join(root, path, file), await readFile(join(root, file), "utf8"));
      }
    }
  }
  const daemons = join(trackingRoot(layout), path, DAEMONS);
  await mkdir(daemons, { recursive: true });
  return join(daemons, "cgroup.procs");
}

async function enableControllers(folder: string): Promise<void> {
  const words = async (file: string) => (await readFile(join(folder, file), "utf8")).trim().split(/\s+/);
  const enabled = new Set(await words("cgroup.subtree_control"));
  for (const controller of await words("cgroup.controllers")) {
    if (enabled.has(controller) || controller === "") continue;
    try {
      await writeFile(join(folder, "cgroup.subtree_control"), `+${controller}`);
    } catch (error) {
      // The preflight has seen that the necessary ones are available; others (rdma, misc, ...) may refuse.
      if (["cpu", "cpuset", "memory", "pids"].includes(controller)) throw error;
    }
  }
}

/** Processes that started as daemons of the region: the daemons, and the shims that containerd started. */
export async function daemonPids(layout: CgroupLayout, path: string): Promise<number[]> {
  return await pidsBelow(join(trackingRoot(layout), path, DAEMONS));
}

/** The same with their parents and programs; those that end meanwhile are left out. */
export async function daemonProcesses(layout: CgroupLayout, path: string): Promise<readonly SeenProcess[]> {
  const seen = await Promise.all(
    (await daemonPids(layout, path)).map(async (pid) => {
      const stat = parseStat((await readIfThere(`/proc/${pid}/stat`)) ?? "");
      const program = ((await readIfThere(`/proc/${pid}/cmdline`)) ?? "").split("\0")[0] ?? "";
      return stat === undefined ? [] : [{ pid, parent: stat.parent, program }];
    }),
  );
  return seen.flat();
}

/** Processes of the region's pods. */
export async function podPids(layout: CgroupLayout, path: string): Promise<number[]> {
  const own = join(trackingRoot(layout), path);
  const folders = (await folderNames(own)).filter((name) => name !== DAEMONS);
  return (await Promise.all(folders.map((name) => pidsBelow(join(own, name))))).flat();
}

async function pidsBelow(folder: string): Promise<number[]> {
  const own = ((await readIfThere(join(folder, "cgroup.procs"))) ?? "").trim();
  const pids = own === "" ? [] : own.split("\n").map(Number);
  const below = await Promise.all((await folderNames(folder)).map((name) => pidsBelow(join(folder, name))));
  return [...pids, ...below.flat()].filter((pid) => pid > 1);
}

/** Removes the region's cgroup from every hierarchy. Processes have to be gone; the kernel may lag behind a little. */
export async function removeCgroup(layout: CgroupLayout, path: string): Promise<void> {
  const roots =
    layout.version === 2 ? [layout.root] : [...layout.hierarchies.map((h) => h.root), "/sys/fs/cgroup/unified"];
  for (const root of roots) await removeFolder(join(root, path), Date.now() + 5_000);
}

async function removeFolder(folder: string, deadline: number): Promise<void> {
  for (const name of await folderNames(folder)) await removeFolder(join(folder, name), deadline);
  for (;;) {
    try {
      await rmdir(folder);
      return;
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code;
      if (code === "ENOENT") return;
      if (code !== "EBUSY" || Date.now() > deadline) throw error;
      await sleep(50);
    }
  }
}

async function folderNames(folder: string): Promise<string[]> {
  try {
    const entries = await readdir(folder, { withFileTypes: true });
    return entries.filter((e) => e.isDirectory()).map((e) => e.name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  }
}

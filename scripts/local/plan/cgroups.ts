/** How the kernel offers control groups on this machine. */
export type CgroupLayout =
  | { readonly version: 2; readonly root: string }
  | {
      readonly version: 1;
      /** Mount point of each hierarchy, with its controllers; a named hierarchy such as systemd's has none. */
      readonly hierarchies: readonly { readonly root: string; readonly controllers: readonly string[] }[];
    };

/** Controllers that the kubelet insists on. */
const REQUIRED = ["cpu", "cpuset", "memory", "pids"] as const;

/** Options of a v1 mount that name no controller. */
const MOUNT_OPTIONS = new Set(["rw", "ro", "relatime", "nosuid", "nodev", "noexec", "xattr", "clone_children"]);

/**
 * Reads `/proc/self/mounts`. A hybrid machine (v1 with v2 mounted beside it for systemd) counts as v1: that is where its
 * controllers are.
 *
 * @returns undefined where no usable hierarchy is mounted.
 */
export function cgroupLayout(mounts: string): CgroupLayout | undefined {
  const entries = mounts
    .split("\n")
    .map((line) => line.split(" "))
    .filter((fields) => fields.length >= 4)
    .map(([, root, type, options]) => ({ root: root!, type: type!, options: options!.split(",") }));
  const v1 = new Map<string, { root: string; controllers: string[] }>();
  for (const { root, type, options } of entries) {
    if (type !== "cgroup" || !root.startsWith("/sys/fs/cgroup/")) continue;
    v1.set(root, { root, controllers: options.filter((o) => !MOUNT_OPTIONS.has(o) && !o.includes("=")) });
  }
  if (v1.size > 0) return { version: 1, hierarchies: [...v1.values()] };
  return entries.some((e) => e.type === "cgroup2" && e.root === "/sys/fs/cgroup")
    ? { version: 2, root: "/sys/fs/cgroup" }
    : undefined;
}

/**
 * Controllers that are needed and missing.
 *
 * @param available with v2, the words of the root's `cgroup.controllers`; not used with v1.
 */
export function missingControllers(layout: CgroupLayout, available: readonly string[]): readonly string[] {
  const have = new Set(layout.version === 1 ? layout.hierarchies.flatMap((h) => h.controllers) : available);
  return REQUIRED.filter((c) => !have.has(c));
}

/** Folder in which the processes of a region are counted, its pods below it as well. */
export function trackingRoot(layout: CgroupLayout): string {
  if (layout.version === 2) return layout.root;
  const pids = layout.hierarchies.find((h) => h.controllers.includes("pids"));
  if (pids === undefined) throw new Error("No cgroup hierarchy has the pids controller.");
  return pids.root;
}

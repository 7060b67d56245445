import type { RegionPlan } from "./regions.ts";
import { missingControllers, type CgroupLayout } from "./cgroups.ts";

/** What was seen of the machine. Everything is a plain value, so that the checks can be tried with made-up ones. */
export interface Facts {
  /** As `process.platform` and `process.arch` have it. */
  readonly platform: string;
  readonly arch: string;
  /** ID and VERSION_ID of /etc/os-release. */
  readonly os: { readonly id: string; readonly version: string };
  readonly uid: number;
  /** Bytes that programs can still have, MemAvailable of /proc/meminfo. */
  readonly memoryAvailable: number;
  /** Free bytes and file system type below the folder, or below its nearest parent that exists. */
  readonly disks: readonly {
    readonly use: "state" | "cache";
    readonly path: string;
    readonly free: number;
    readonly type: string;
  }[];
  readonly cgroups: CgroupLayout | undefined;
  /** Controllers of the v2 root; empty with v1. */
  readonly cgroupControllers: readonly string[];
  /** Whether each feature was there when it was tried; the reason where it was not. */
  readonly kernel: Readonly<Record<KernelFeature, string | undefined>>;
  /** Version as in `go1.26.8`; undefined without Go. */
  readonly go: string | undefined;
  /** The highest `go` line of the modules to build, as in `1.25.0`. */
  readonly goWanted: string;
  /** Host ports among those asked about that somebody listens on. */
  readonly portsInUse: readonly number[];
}

export const kernelFeatures = [
  "network namespaces",
  "veth",
  "bridge",
  "TUN devices",
  "bridge-nf-call-iptables",
  "overlayfs",
  "iptables nat",
  "iptables statistic and comment matches",
] as const;

export type KernelFeature = (typeof kernelFeatures)[number];

/** One thing that is in the way. */
export interface Problem {
  /** What was found. */
  readonly found: string;
  /** What to do about it. */
  readonly remedy: string;
}

const GIB = 1024 ** 3;

/** Memory for one region with everything in it, and for each further one, in bytes. */
const MEMORY_FIRST = 6 * GIB;
const MEMORY_EACH = 4 * GIB;

/** Free disk for builds, images and data of one region, and for images and data of each further one, in bytes. */
const DISK_FIRST = 12 * GIB;
const DISK_EACH = 4 * GIB;

const SUPPORTED_DEBIAN = ["12", "13"];

/** File systems that can't carry containerd's overlays or a database's files. */
const UNFIT_FILE_SYSTEMS = new Set(["overlay", "nfs", "nfs4", "9p", "fuse", "cifs", "vfat"]);

export interface PreflightQuestion {
  /** Regions to be started, of which none runs yet. */
  readonly starting: readonly RegionPlan[];
  /** False when every program is in the cache already: then neither Go nor much disk is needed for it. */
  readonly building: boolean;
}

/** Everything that would keep the regions from starting, all at once. Empty when nothing is. */
export function preflight(facts: Facts, question: PreflightQuestion): readonly Problem[] {
  return [
    ...system(facts),
    ...go(facts, question),
    ...memory(facts, question),
    ...disk(facts, question),
    ...kernel(facts),
    ...ports(facts, question),
  ];
}

function system(facts: Facts): Problem[] {
  const problems: Problem[] = [];
  const { platform, arch, os } = facts;
  if (platform !== "linux" || arch !== "x64" || os.id !== "debian" || !SUPPORTED_DEBIAN.includes(os.version)) {
    problems.push({
      found: `This machine is ${os.id || platform} ${os.version || "of unknown version"} on ${arch}.`,
      remedy:
        "Embedded clusters run on Debian 12 or 13 on x86-64 only: use such a machine, or name clusters of your own.",
    });
  }
  if (facts.uid !== 0) {
    problems.push({
      found: `The program runs as user ${facts.uid}.`,
      remedy: "Embedded clusters need root for namespaces, mounts and control groups: run it as root.",
    });
  }
  return problems;
}

function go(facts: Facts, question: PreflightQuestion): Problem[] {
  if (!question.building) return [];
  if (facts.go === undefined) {
    return [{ found: "Go is not installed.", remedy: `Install Go ${facts.goWanted} or later and have it on PATH.` }];
  }
  return compareVersions(facts.go.replace(/^go/, ""), facts.goWanted) < 0
    ? [{ found: `Go is version ${facts.go.replace(/^go/, "")}.`, remedy: `Install Go ${facts.goWanted} or later.` }]
    : [];
}

/** Negative, zero or positive as the first dotted version is lower, equal or higher. */
export function compareVersions(a: string, b: string): number {
  const numbers = (text: string) => (/^\d+(\.\d+)*/.exec(text)?.[0] ?? "0").split(".").map(Number);
  const [x, y] = [numbers(a), numbers(b)];
  for (let i = 0; i < Math.max(x.length, y.length); i++) {
    const difference = (x[i] ?? 0) - (y[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

function memory(facts: Facts, { starting }: PreflightQuestion): Problem[] {
  if (starting.length === 0) return [];
  const need = MEMORY_FIRST + (starting.length - 1) * MEMORY_EACH;
  if (facts.memoryAvailable >= need) return [];
  return [
    {
      found: `${gib(facts.memoryAvailable)} GiB of memory are available.`,
      remedy: `Starting ${starting.map((p) => p.region).join(", ")} takes ${gib(need)} GiB: end other programs, start fewer regions, or use a larger machine.`,
    },
  ];
}

function disk(facts: Facts, { starting, building }: PreflightQuestion): Problem[] {
  const problems: Problem[] = [];
  for (const { use, path, free, type } of facts.disks) {
    const variable = use === "state" ? "IAM_HA_HOME" : "XDG_CACHE_HOME";
    if (use === "state" && UNFIT_FILE_SYSTEMS.has(type)) {
      problems.push({
        found: `${path} lies on a file system of type ${type}.`,
        remedy: `Containers and databases need a local one such as ext4 or xfs: set ${variable} to a folder on one.`,
      });
    }
    const needed = use === "state" ? starting.length > 0 : building;
    const need = DISK_FIRST + (use === "state" ? (starting.length - 1) * DISK_EACH : 0);
    if (needed && free < need) {
      problems.push({
        found: `${gib(free)} GiB are free for ${path}.`,
        remedy: `${gib(need)} GiB are needed: free some, or set ${variable} to a folder on a larger disk.`,
      });
    }
  }
  return problems;
}

function kernel(facts: Facts): Problem[] {
  const problems: Problem[] = [];
  if (facts.cgroups === undefined) {
    problems.push({
      found: "No control groups are mounted at /sys/fs/cgroup.",
      remedy: "Mount them (mount -t cgroup2 none /sys/fs/cgroup), or start the machine with its usual init system.",
    });
  } else {
    const missing = missingControllers(facts.cgroups, facts.cgroupControllers);
    if (missing.length > 0) {
      problems.push({
        found: `Control groups version ${facts.cgroups.version} lack the controllers ${missing.join(", ")}.`,
        remedy:
          "Enable them on the kernel's command line (cgroup_enable=...); inside a container, use the machine itself.",
      });
    }
  }
  for (const feature of kernelFeatures) {
    const reason = facts.kernel[feature];
    if (reason === undefined) continue;
    problems.push({
      found: `The kernel has no ${feature} (${reason}).`,
      remedy: "Use Debian's own kernel, or one with this feature built in or as a module that root may load.",
    });
  }
  return problems;
}

function ports(facts: Facts, { starting }: PreflightQuestion): Problem[] {
  const used = new Set(facts.portsInUse);
  return starting.flatMap(({ region, ports: planned }) =>
    Object.entries(planned)
      .filter(([, port]) => used.has(port))
      .map(([purpose, port]) => ({
        found: `Port ${port} of 127.0.0.1, meant for ${purpose} of ${region}, is in use.`,
        remedy: `End the program that listens there (ss -ltnp 'sport = :${port}' shows it), or set IAM_HA_PORT_BASE to the first of 30 free ports.`,
      })),
  );
}

function gib(bytes: number): string {
  return (bytes / GIB).toFixed(1).replace(/\.0$/, "");
}

/** The preflight's result as an error, with every problem in it. */
export class PreflightError extends Error {
  readonly problems: readonly Problem[];
  constructor(problems: readonly Problem[]) {
    super(problems.map(({ found, remedy }) => `${found} ${remedy}`).join("\n"));
    this.name = "PreflightError";
    this.problems = problems;
  }
}

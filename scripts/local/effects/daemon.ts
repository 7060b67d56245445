import { spawn } from "node:child_process";
import { open, rm } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Programs } from "../plan/configs.ts";
import { privateMounts, type DaemonName } from "../plan/daemons.ts";
import { isSameProcess, nextStep, parseRecord, parseStat, type ProcessRecord } from "../plan/process.ts";
import type { RegionPlan } from "../plan/regions.ts";
import { currentBootId, readIfThere, readStat, writeFileAtomically } from "./files.ts";

export interface DaemonStart {
  readonly plan: RegionPlan;
  readonly programs: Programs;
  readonly name: DaemonName;
  readonly argv: readonly string[];
  readonly fingerprint: string;
  /** File that makes its writer one of the region's daemons. */
  readonly cgroupProcs: string;
  /** Process whose mount namespace is joined; undefined for the one that makes it. */
  readonly mountsOf?: number;
}

/** Any long-lived process of ours: a daemon of a region, or what the regions of an instance share. */
export interface ProcessStart {
  /** Folder that holds `pids/<name>.json`. */
  readonly run: string;
  readonly name: string;
  /** File that both outputs are appended to, mode 0600. */
  readonly log: string;
  readonly argv: readonly string[];
  /** Folders for PATH. */
  readonly path: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly fingerprint: string;
  /** File that makes its writer a member of the process's cgroup. */
  readonly cgroupProcs: string;
}

/** Becomes a member of the cgroup ($1), then the program. */
const JOIN = 'echo $$ > "$1"; shift; exec "$@"';

async function readRecord({ run, name }: Pick<ProcessStart, "run" | "name">): Promise<ProcessRecord | undefined> {
  const text = await readIfThere(recordPath(run, name));
  return text === undefined ? undefined : parseRecord(text);
}

function recordPath(run: string, name: string): string {
  return join(run, "pids", `${name}.json`);
}

/** The process id, when it is alive and is the process that was started. */
export async function alivePid({ run }: Pick<ProcessStart, "run">, name: string): Promise<number | undefined> {
  const record = await readRecord({ run, name });
  if (record === undefined) return undefined;
  const same = isSameProcess(record, await currentBootId(), await readStat(record.pid));
  return same ? record.pid : undefined;
}

/** Starts a daemon unless it runs with the same command and settings. @returns its process id. */
export async function ensureDaemon(start: DaemonStart): Promise<{ readonly pid: number; readonly started: boolean }> {
  const { plan, name, argv, programs, fingerprint, cgroupProcs } = start;
  return await ensureProcess({
    run: plan.run,
    name,
    log: join(plan.logs, `${name}.log`),
    argv: [...enter(start), ...argv],
    path: programs.path,
    // Half the garbage for a little CPU: three control planes have to fit beside what they run.
    ...(argv[0]?.endsWith("kube-apiserver") ? { env: { GOGC: "60" } } : {}),
    fingerprint,
    cgroupProcs,
  });
}

/** Starts a process unless it runs with the same fingerprint. @returns its process id. */
export async function ensureProcess(start: ProcessStart): Promise<{ readonly pid: number; readonly started: boolean }> {
  const pid = await alivePid(start, start.name);
  const step = nextStep(await readRecord(start), pid !== undefined, start.fingerprint);
  if (step === "keep") return { pid: pid!, started: false };
  if (step === "restart") await stopPids([pid!], 10_000);
  return { pid: await spawnProcess(start), started: true };
}

async function spawnProcess({ name, log: path, argv, ...start }: ProcessStart): Promise<number> {
  const log = await open(path, "a", 0o600);
  try {
    const child = spawn("/bin/sh", ["-euc", JOIN, name, start.cgroupProcs, ...argv], {
      detached: true,
      cwd: "/",
      stdio: ["ignore", log.fd, log.fd],
      env: { PATH: start.path.join(delimiter), HOME: "/root", LANG: "C.UTF-8", ...start.env },
    });
    await new Promise<void>((resolve, reject) => child.once("spawn", resolve).once("error", reject));
    child.unref();
    const stat = await readStat(child.pid!);
    const startTicks = stat === undefined ? undefined : parseStat(stat)?.startTicks;
    if (startTicks !== undefined) {
      const record: ProcessRecord = {
        pid: child.pid!,
        startTicks,
        bootId: await currentBootId(),
        fingerprint: start.fingerprint,
      };
      await writeFileAtomically(recordPath(start.run, name), JSON.stringify(record));
    }
    return child.pid!;
  } finally {
    await log.close();
  }
}

/**
 * What leads into the region's namespaces. Its own mount namespace keeps all mounts of pods off the host: they end with
 * the last process. `nsenter` and not `ip netns exec`: that one mounts another /sys, without the cgroups.
 */
function enter({ plan, name, mountsOf }: DaemonStart): readonly string[] {
  const net = name === "relay" ? [] : [`--net=${plan.netnsPath}`];
  if (mountsOf !== undefined) return ["nsenter", ...net, `--mount=/proc/${mountsOf}/ns/mnt`, "--wd=/"];
  const mounts = privateMounts(plan).map(({ source, target }) => {
    const quoted = [source, target].map((path) => `'${path}'`);
    return `mkdir -p ${quoted.join(" ")}; mount --bind ${quoted.join(" ")}`;
  });
  // The last line tells that the mounts are there.
  const script = [...mounts, `: > '${mountsReady(plan)}'`, 'exec "$@"'].join("\n");
  return ["nsenter", ...net, "unshare", "--mount", "--propagation", "slave", "/bin/sh", "-euc", script, name];
}

/** A file that is there when the region's mount namespace has its mounts. */
export function mountsReady(plan: RegionPlan): string {
  return join(plan.run, "mounts-ready");
}

/** Ends processes: TERM, and KILL after the time. @returns those that had to be killed. */
export async function stopPids(pids: readonly number[], patience: number): Promise<readonly number[]> {
  signalAll(pids, "SIGTERM");
  if (await gone(pids, patience)) return [];
  const left = await stillAlive(pids);
  await killPids(left);
  return left;
}

/** Kills processes and waits until the kernel has let them go. */
export async function killPids(pids: readonly number[], patience = 10_000): Promise<void> {
  signalAll(pids, "SIGKILL");
  if (!(await gone(pids, patience))) {
    throw new Error(`Processes ${(await stillAlive(pids)).join(", ")} do not end although they were killed.`);
  }
}

export function signalAll(pids: readonly number[], signal: NodeJS.Signals): void {
  for (const pid of pids) {
    try {
      process.kill(pid, signal);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
    }
  }
}

/** Waits until all have ended. @returns false when the time is over first. */
export async function gone(pids: readonly number[], patience: number): Promise<boolean> {
  const deadline = Date.now() + patience;
  while ((await stillAlive(pids)).length > 0) {
    if (Date.now() > deadline) return false;
    await sleep(50);
  }
  return true;
}

async function stillAlive(pids: readonly number[]): Promise<number[]> {
  const stats = await Promise.all(pids.map(readStat));
  return pids.filter((_, i) => {
    const stat = stats[i] === undefined ? undefined : parseStat(stats[i]);
    return stat !== undefined && stat.state !== "Z" && stat.state !== "X";
  });
}

export async function forgetRecord(plan: RegionPlan, name: DaemonName): Promise<void> {
  await rm(recordPath(plan.run, name), { force: true });
}

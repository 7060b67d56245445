import { createHash } from "node:crypto";
import { lstat, mkdir, open, readFile, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { isSameProcess, parseRecord, parseStat } from "../plan/process.ts";

/** Writes a whole file or nothing: readers and a start after a crash never see half of one. Mode 0600. */
export async function writeFileAtomically(path: string, text: string, mode = 0o600): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o755 });
  const temporary = `${path}.${process.pid}.new`;
  const file = await open(temporary, "w", mode);
  try {
    await file.chmod(mode);
    await file.writeFile(text);
  } finally {
    await file.close();
  }
  await rename(temporary, path);
}

export async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    // ESRCH: a process that ended while its /proc file was read.
    if (code === "ENOENT" || code === "ENOTDIR" || code === "ESRCH") return undefined;
    throw error;
  }
}

export async function exists(path: string): Promise<boolean> {
  return await lstat(path).then(
    () => true,
    () => false,
  );
}

export function hash(...parts: readonly (string | Buffer)[]): string {
  const h = createHash("sha256");
  for (const part of parts) h.update(`${part.length}:`).update(part);
  return h.digest("hex");
}

export async function currentBootId(): Promise<string> {
  return (await readFile("/proc/sys/kernel/random/boot_id", "utf8")).trim();
}

export async function readStat(pid: number): Promise<string | undefined> {
  return await readIfThere(`/proc/${pid}/stat`);
}

/**
 * Runs `work` while no other process holds the lock. The lock is a file that names its holder, so that one left by a
 * killed process is taken over.
 *
 * @param timeout milliseconds to wait for another holder.
 */
export async function withLock<T>(
  path: string,
  options: { readonly signal?: AbortSignal; readonly timeout: number; readonly onWait?: () => void },
  work: () => Promise<T>,
): Promise<T> {
  await mkdir(dirname(path), { recursive: true });
  const bootId = await currentBootId();
  const own = parseStat((await readStat(process.pid))!)!;
  const text = JSON.stringify({ pid: process.pid, startTicks: own.startTicks, bootId, fingerprint: "lock" });
  const deadline = Date.now() + options.timeout;
  let told = false;
  while (!(await tryLock(path, text, bootId))) {
    options.signal?.throwIfAborted();
    if (Date.now() > deadline) {
      throw new Error(`Another run has held ${path} for ${options.timeout / 1000} s: wait for it to end, or end it.`);
    }
    if (!told) options.onWait?.();
    told = true;
    await sleep(200, undefined, { signal: options.signal });
  }
  try {
    return await work();
  } finally {
    await rm(path, { force: true });
  }
}

async function tryLock(path: string, text: string, bootId: string): Promise<boolean> {
  try {
    const file = await open(path, "wx", 0o600);
    await file.writeFile(text).finally(() => file.close());
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  }
  const found = await readIfThere(path);
  if (found === undefined) return false;
  const holder = parseRecord(found);
  // An empty file is a lock in the making, unless its maker died in that instant: give it a moment.
  if (holder === undefined) {
    await sleep(500);
    if ((await readIfThere(path)) !== found) return false;
  } else if (isSameProcess(holder, bootId, await readStat(holder.pid))) return false;
  // Renamed rather than removed: of two that see the dead holder, only one gets the file.
  const grave = `${path}.${process.pid}.stale`;
  try {
    await rename(path, grave);
    if ((await readIfThere(grave)) === found) await rm(grave, { force: true });
    else await rename(grave, path); // the other was faster and this is its lock
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
  }
  return false;
}

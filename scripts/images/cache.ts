/**
 * The cache of images: content-addressed, shared by all instances and clones of a user, safe to delete when nothing
 * is being built. Whatever is in it under its final name is whole: files are made under another name and renamed.
 */
import { spawn } from "node:child_process";
import { createHash, randomUUID } from "node:crypto";
import { createReadStream } from "node:fs";
import { chmod, mkdir, readFile, readdir, rename, rm, stat, statfs, writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";

/** The folders of the cache. */
export interface CachePaths {
  root: string;
  /** Base images: `<recipe>/base.tar` and what is known of it. */
  base: string;
  /** The build engine's layers. */
  storage: string;
  /** The engine's run-time state: has to be empty after a reboot, so it lies under /run. */
  runroot: string;
  /** Finished archives, `<name>-<tag>.tar`. */
  archives: string;
  /** What is being made; emptied whenever a build begins. */
  work: string;
}

/** Where the cache is: `${XDG_CACHE_HOME:-~/.cache}/iam-ha/images`. Different caches have different run-time state. */
export function cachePaths(env: NodeJS.ProcessEnv = process.env): CachePaths {
  // The XDG specification: a relative path is to be ignored.
  const home = env["XDG_CACHE_HOME"]?.startsWith("/") ? env["XDG_CACHE_HOME"] : join(homedir(), ".cache");
  const root = join(home, "iam-ha", "images");
  const id = createHash("sha256").update(root).digest("hex").slice(0, 12);
  return {
    root,
    base: join(root, "base"),
    storage: join(root, "storage"),
    runroot: join("/run/iam-ha", `images-${id}`),
    archives: join(root, "archives"),
    work: join(root, "work"),
  };
}

/** Makes the folders of the cache, for their owner alone. */
export async function prepareCache(paths: CachePaths): Promise<void> {
  for (const folder of [paths.root, paths.base, paths.storage, paths.runroot, paths.archives, paths.work]) {
    await mkdir(folder, { recursive: true, mode: 0o700 });
  }
  await chmod(paths.root, 0o700);
}

/** Whether a path exists. */
export async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

/** Free space of the file system a path is on, in bytes. */
export async function freeBytes(path: string): Promise<number> {
  const fs = await statfs(path);
  return fs.bavail * fs.bsize;
}

/** Writes a file so that it is there in full or not at all. */
export async function writeWhole(path: string, content: string, mode = 0o600): Promise<void> {
  const partial = `${path}.${randomUUID()}.partial`;
  try {
    await writeFile(partial, content, { mode });
    await rename(partial, path);
  } catch (error) {
    await rm(partial, { force: true });
    throw error;
  }
}

/**
 * Holds the cache's lock while `action` runs, so that two builds never share the engine's storage. The kernel drops
 * the lock when this process ends, however it ends. `onWait` is called once when another process holds it.
 *
 * @throws when the lock is not free within `timeoutMs`
 */
export async function withLock<T>(
  paths: CachePaths,
  timeoutMs: number,
  signal: AbortSignal | undefined,
  onWait: () => void,
  action: () => Promise<T>,
): Promise<T> {
  const file = join(paths.root, "lock");
  // `cat` ends with our end of the pipe, and flock with it.
  const holder = spawn("flock", ["--exclusive", file, "sh", "-c", "echo locked; exec cat"], {
    stdio: ["pipe", "pipe", "ignore"],
  });
  const waiting = setTimeout(onWait, 500);
  try {
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(
        () =>
          reject(
            new Error(
              `another build of images has held ${file} for ${Math.round(timeoutMs / 1000)} s: wait for it or end it, then start again`,
            ),
          ),
        timeoutMs,
      );
      const onAbort = (): void => reject(signal?.reason as Error);
      const settle = (then: () => void): void => {
        clearTimeout(timer);
        signal?.removeEventListener("abort", onAbort);
        then();
      };
      if (signal?.aborted) onAbort();
      signal?.addEventListener("abort", onAbort, { once: true });
      holder.stdout.once("data", () => settle(resolve));
      holder.once("error", (error) =>
        settle(() => reject(new Error(`the lock ${file} could not be taken: ${error.message}`))),
      );
      holder.once("exit", () => settle(() => reject(new Error(`the lock ${file} could not be taken`))));
    });
    clearTimeout(waiting);
    return await action();
  } finally {
    clearTimeout(waiting);
    holder.stdin.destroy();
    holder.kill("SIGKILL");
  }
}

/** SHA-256 of a file, hex. */
export async function hashFile(path: string): Promise<string> {
  const hash = createHash("sha256");
  await pipeline(createReadStream(path, { highWaterMark: 1 << 20 }), hash);
  return hash.digest("hex");
}

/**
 * SHA-256 of a large file that rarely changes, remembered by inode, size and times: a run with nothing to do reads
 * no hundred megabytes.
 */
export async function hashLargeFile(paths: CachePaths, path: string): Promise<string> {
  const info = await stat(path, { bigint: true });
  const key = [path, info.dev, info.ino, info.size, info.mtimeNs, info.ctimeNs].join(":");
  const memo = join(paths.root, `digest-${createHash("sha256").update(path).digest("hex").slice(0, 16)}.json`);
  const known = await readFile(memo, "utf8")
    .then((text) => JSON.parse(text) as { key?: unknown; sha256?: unknown })
    .catch(() => undefined);
  if (known?.key === key && typeof known.sha256 === "string") return known.sha256;
  const sha256 = await hashFile(path);
  await writeWhole(memo, JSON.stringify({ key, sha256 }));
  return sha256;
}

/** Empties a folder. */
export async function emptyFolder(folder: string): Promise<void> {
  for (const entry of await readdir(folder)) await rm(join(folder, entry), { recursive: true, force: true });
}

import { spawn, type ChildProcess } from "node:child_process";
import { execFile } from "node:child_process";
import { access, mkdir, mkdtemp, readdir, readFile, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { promisify } from "node:util";
import { buildImages } from "../../scripts/images/build.ts";
import { cachePaths } from "../../scripts/images/cache.ts";

const run = promisify(execFile);

/** The user of every process in the project's images. */
export const IMAGE_UID = 10001;

/** The root file system of one of the project's images, unpacked: so that a test runs the very engine that is deployed,
 *  whatever the machine's distribution has. Builds the image when it is not in the cache; needs root. */
export async function imageRoot(name: string): Promise<string> {
  const [image] = await buildImages({ names: [name] });
  if (!image) throw new Error(`no image ${name}`);
  const roots = join(dirname(cachePaths().root), "test-roots");
  const root = join(roots, basename(image.tar, ".tar"));
  if (await exists(root)) return root;
  await mkdir(roots, { recursive: true, mode: 0o700 });
  const work = await mkdtemp(join(roots, ".work-"));
  try {
    await run("tar", ["-xf", image.tar, "-C", work]);
    const manifest = JSON.parse(await readFile(join(work, "manifest.json"), "utf8")) as { Layers: string[] }[];
    const made = join(work, "root");
    await mkdir(made, { mode: 0o755 });
    for (const layer of manifest[0]!.Layers) {
      await run("tar", ["-xf", join(work, layer), "-C", made, "--numeric-owner"]);
      await applyWhiteouts(made);
    }
    await rename(made, root).catch(async (error: unknown) => {
      // Another run was faster; what it made is the same.
      if (!(await exists(root))) throw error;
    });
  } finally {
    await rm(work, { recursive: true, force: true });
  }
  return root;
}

/** A file named `.wh.x` in a layer says that `x` of the layers below is gone. */
async function applyWhiteouts(root: string): Promise<void> {
  for (const entry of await readdir(root, { recursive: true, withFileTypes: true })) {
    if (!entry.name.startsWith(".wh.")) continue;
    const marker = join(entry.parentPath, entry.name);
    if (entry.name !== ".wh..wh..opq")
      await rm(join(entry.parentPath, entry.name.slice(4)), { recursive: true, force: true });
    await rm(marker, { force: true });
  }
}

export interface InImageOptions {
  /** What is mounted where: path inside to path on the machine, files or folders. */
  readonly mounts?: Readonly<Record<string, string>>;
  readonly env?: Readonly<Record<string, string>>;
}

/** Starts a program of an image as the image's user, in a mount namespace of its own (its mounts end with it). The
 *  process that is returned is the program itself: signals reach it. */
export function spawnInImage(root: string, argv: readonly string[], options: InImageOptions = {}): ChildProcess {
  const mounts = { "/dev": "/dev", ...options.mounts };
  const script = [
    "set -e",
    ...Object.entries(mounts).map(
      ([inside, outside]) =>
        `if [ -d ${quote(outside)} ]; then mkdir -p ${quote(root + inside)}; else mkdir -p ${quote(dirname(root + inside))}; touch ${quote(root + inside)}; fi; ` +
        `mount --rbind ${quote(outside)} ${quote(root + inside)}`,
    ),
    `exec chroot --userspec=${IMAGE_UID}:${IMAGE_UID} ${quote(root)} "$@"`,
  ].join("\n");
  return spawn("unshare", ["--mount", "sh", "-c", script, "sh", ...argv], {
    env: { PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", LANG: "C.UTF-8", ...options.env },
    stdio: ["ignore", "pipe", "pipe"],
  });
}

/** Runs a program of an image to its end, 60 s at most.
 *  @throws with its output when it fails */
export async function runInImage(root: string, argv: readonly string[], options: InImageOptions = {}): Promise<string> {
  const { code, output } = await endOf(spawnInImage(root, argv, options), 60_000);
  if (code !== 0) throw new Error(`${argv[0]} ended with ${code}:\n${output}`);
  return output;
}

/** Waits for a process to end, and gives its exit code and all it wrote. */
export async function endOf(child: ChildProcess, timeoutMs: number): Promise<{ code: number | null; output: string }> {
  let output = "";
  child.stdout?.on("data", (chunk: Buffer) => (output += chunk.toString()));
  child.stderr?.on("data", (chunk: Buffer) => (output += chunk.toString()));
  const timer = setTimeout(() => child.kill("SIGKILL"), timeoutMs);
  try {
    const code = await new Promise<number | null>((resolve, reject) => {
      child.once("error", reject);
      child.once("close", resolve);
    });
    return { code, output };
  } finally {
    clearTimeout(timer);
  }
}

function quote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

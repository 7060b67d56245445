/**
 * Runs programs inside a built image the way a restricted pod does: read-only root, user 10001, no capability, no new
 * privileges, memory file systems on the paths that may be written. Needs root, and nothing but util-linux.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { readFileSync } from "node:fs";
import { mkdir, mkdtemp, readFile, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { run } from "../../scripts/images/run.ts";

/** Configuration of an image, as in its archive. */
export interface ImageConfig {
  User: string;
  Env: string[];
  Entrypoint: string[];
  Cmd: string[];
  WorkingDir: string;
  StopSignal: string;
  Labels: Record<string, string>;
}

export interface InImageOptions {
  /** Paths in the image that get an empty memory file system, as an emptyDir would be. */
  writable?: readonly string[];
  /** Folders of the host mounted over paths of the image. */
  binds?: Readonly<Record<string, string>>;
  env?: Readonly<Record<string, string>>;
}

/** An image unpacked from its archive. */
export class Rootfs {
  readonly folder: string;
  readonly config: ImageConfig;

  private constructor(folder: string, config: ImageConfig) {
    this.folder = folder;
    this.config = config;
  }

  /** Unpacks the layers of a docker archive one over the other, with their deletions. */
  static async unpack(archive: string): Promise<Rootfs> {
    const work = await mkdtemp(join(tmpdir(), "iam-ha-image-"));
    const layers = join(work, "layers");
    const folder = join(work, "root");
    await mkdir(layers);
    await mkdir(folder);
    await run(["tar", "-xf", archive, "-C", layers], { timeoutMs: 120_000 });
    const [manifest] = JSON.parse(await readFile(join(layers, "manifest.json"), "utf8")) as [
      { Config: string; Layers: string[] },
    ];
    const { config } = JSON.parse(await readFile(join(layers, manifest.Config), "utf8")) as { config: ImageConfig };
    for (const layer of manifest.Layers) {
      await run(["tar", "-xpf", join(layers, layer), "--numeric-owner", "-C", folder], { timeoutMs: 120_000 });
      const names = await readdir(folder, { recursive: true, withFileTypes: true });
      for (const { name, parentPath } of names.filter((entry) => entry.name.startsWith(".wh."))) {
        await rm(join(parentPath, name.slice(".wh.".length)), { recursive: true, force: true });
        await rm(join(parentPath, name));
      }
    }
    await rm(layers, { recursive: true });
    return new Rootfs(folder, config);
  }

  async remove(): Promise<void> {
    await rm(join(this.folder, ".."), { recursive: true, force: true });
  }

  /** Runs a command to its end; gives what it wrote on both streams together. Fails when the command does. */
  async run(argv: readonly string[], options: InImageOptions = {}): Promise<string> {
    const child = this.start(argv, options);
    const code = await child.ended(30_000);
    if (code !== 0) throw new Error(`${argv.join(" ")} ended with ${code}: ${child.output()}`);
    return child.output();
  }

  /** Starts a command with the image's environment. */
  start(argv: readonly string[], options: InImageOptions = {}): Running {
    const mounts = [
      "mount --make-rprivate /",
      'mount --bind "$R" "$R"',
      ...Object.entries(options.binds ?? {}).map(([path, host]) => `mount --bind '${host}' "$R${path}"`),
      ...(options.writable ?? []).map((path) => `mount -t tmpfs -o mode=0777 tmpfs "$R${path}"`),
      'mount -t proc proc "$R/proc"',
      'mount --rbind /dev "$R/dev"',
      'mount -o remount,bind,ro "$R"',
      'exec chroot "$R" /usr/bin/setpriv --reuid 10001 --regid 10001 --clear-groups --inh-caps=-all --bounding-set=-all --no-new-privs -- "$@"',
    ];
    const image = Object.fromEntries(
      this.config.Env.map((entry) => [entry.slice(0, entry.indexOf("=")), entry.slice(entry.indexOf("=") + 1)]),
    );
    const child = spawn(
      "unshare",
      ["--mount", "--pid", "--fork", "--", "sh", "-euc", mounts.join("\n"), "sh", ...argv],
      {
        env: { ...image, ...options.env, R: this.folder },
        stdio: ["ignore", "pipe", "pipe"],
      },
    );
    return new Running(child);
  }
}

/** A command that was started in an image. */
export class Running {
  readonly #child: ChildProcess;
  readonly #end: Promise<number>;
  #output = "";

  constructor(child: ChildProcess) {
    this.#child = child;
    for (const stream of [child.stdout, child.stderr])
      stream?.on("data", (data: Buffer) => (this.#output += data.toString()));
    this.#end = new Promise((resolve) => {
      child.once("close", (code) => resolve(code ?? -1));
      child.once("error", () => resolve(-1));
    });
  }

  /** What it wrote until now, both streams in the order they came. */
  output(): string {
    return this.#output;
  }

  /** Sends a signal to the first process in the image, as a container engine does. */
  signal(signal: NodeJS.Signals): void {
    const pid = this.#first();
    if (pid === undefined) throw new Error("the command has ended already");
    process.kill(pid, signal);
  }

  /** The first process in the image, as the host numbers it: the only child of unshare. */
  #first(): number | undefined {
    try {
      const pid = Number(readFileSync(`/proc/${this.#child.pid}/task/${this.#child.pid}/children`, "utf8").trim());
      return pid > 1 ? pid : undefined;
    } catch {
      return undefined;
    }
  }

  /** The exit code; fails when it takes longer than `timeoutMs`, and then ends it. */
  async ended(timeoutMs: number): Promise<number> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(() => {
        this.kill();
        reject(new Error(`still running after ${timeoutMs} ms: ${this.#output}`));
      }, timeoutMs);
    });
    return Promise.race([this.#end, late]).finally(() => clearTimeout(timer));
  }

  /** Ends it at once, and with it all it started: its first process takes the process namespace with it. */
  kill(): void {
    const pid = this.#first();
    if (pid !== undefined) process.kill(pid, "SIGKILL");
    else this.#child.kill("SIGKILL");
  }
}

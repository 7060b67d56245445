import { spawn, type ChildProcess } from "node:child_process";
import { chown, copyFile, mkdir, mkdtemp, open, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { edgeConfig, PATHS, type EdgePlan, type EdgePorts } from "../../components/edge/plan.ts";
import { edgeSettings, type EdgeSettings } from "../../components/edge/settings.ts";
import { issueCertificate, makeAuthority } from "./certificates.ts";
import { IMAGE_UID, imageRoot } from "./image-root.ts";
import { freePorts } from "./sockets.ts";

export const DOMAIN = "iam.example.com";
export const HOST = "api-beijing.iam.example.com";

/** Host under which the edge of a region is found. */
export const hostOf = (region: string) => `api-${region}.${DOMAIN}`;

export interface EdgeOptions {
  /** Default: beijing. */
  readonly region?: string;
  /** The stack's `edge` settings, as far as they are not the defaults. */
  readonly settings?: unknown;
  readonly upstream: { readonly servers: readonly string[]; readonly port: number; readonly tls: boolean };
  /** Which of the certificates is the public one; default `edge`. */
  readonly certificate?: string;
  /** What it shows as a client and to other edges; default: `edge-client` of its region. */
  readonly client?: string;
  /** Replaces files of the generated configuration, by name. */
  readonly replace?: Readonly<Record<string, string>> | ((ports: EdgePorts) => Readonly<Record<string, string>>);
}

/** Folders with a CA and certificates of the edge (`edge`), its client (`edge-client`) and the API (`api`). */
export async function makeCertificates(dir: string): Promise<void> {
  await makeAuthority(dir);
  const names = {
    edge: [DOMAIN, `api.${DOMAIN}`, HOST, hostOf("shanghai"), "iam.example.org"],
    "edge-client": ["edge-client", hostOf("beijing")],
    "edge-client-shanghai": ["edge-client", hostOf("shanghai")],
    api: ["iam-api"],
    stranger: ["stranger"],
  };
  for (const [part, dnsNames] of Object.entries(names)) {
    await mkdir(join(dir, part));
    await issueCertificate(dir, join(dir, part), dnsNames);
  }
}

/** The edge as it runs in its pod: the image's own NGINX under its own entry point, not root, with a read-only root file
 *  system and the paths of the pod, but on free ports of this machine. */
export class RunningEdge {
  readonly ports: EdgePorts;
  readonly settings: EdgeSettings;
  private readonly dir: string;
  private readonly child: ChildProcess;
  private readonly options: EdgeOptions;

  private constructor(dir: string, ports: EdgePorts, options: EdgeOptions, child: ChildProcess) {
    this.dir = dir;
    this.ports = ports;
    this.options = options;
    this.child = child;
    this.settings = edgeSettings.parse(options.settings ?? {});
  }

  /** @param certificates folder made by `makeCertificates` */
  static async start(certificates: string, options: EdgeOptions): Promise<RunningEdge> {
    const root = await imageRoot("edge");
    const dir = await mkdtemp(join(tmpdir(), "iam-ha-edge-"));
    const [http, https, peer, status, health] = (await freePorts(5)) as [number, number, number, number, number];
    const ports = { http, https, peer, status, health };
    for (const folder of ["conf", "tls", "client-tls", "upstreams"]) await mkdir(join(dir, folder));
    await installCertificate(join(certificates, options.certificate ?? "edge"), join(dir, "tls"));
    const own = (options.region ?? "beijing") === "beijing" ? "edge-client" : `edge-client-${options.region}`;
    await installCertificate(join(certificates, options.client ?? own), join(dir, "client-tls"));
    await writeFiles(join(dir, "conf"), configOf(options, ports));
    for (const stream of ["out", "err"]) {
      await writeFile(join(dir, stream), "");
      await chown(join(dir, stream), IMAGE_UID, IMAGE_UID);
    }
    const child = await spawnEdge(root, dir, options);
    const edge = new RunningEdge(dir, ports, options, child);
    try {
      await edge.untilHealthy();
    } catch (error) {
      await edge.stop();
      throw error;
    }
    return edge;
  }

  /** Writes the configuration for other settings, as a changed ConfigMap would, and does not wait. */
  async change(settings: unknown): Promise<void> {
    await writeFiles(join(this.dir, "conf"), configOf({ ...this.options, settings }, this.ports));
  }

  /** Puts another text in the place of one file of the configuration. */
  async replaceFile(name: string, text: string): Promise<void> {
    await writeFiles(join(this.dir, "conf"), { [name]: text });
  }

  /** Where the sidecar writes. */
  get routeFile(): string {
    return join(this.dir, "upstreams/route.conf");
  }

  /** Puts a text in the place of the sidecar's file, as the sidecar does. */
  async route(text: string): Promise<void> {
    await writeFiles(join(this.dir, "upstreams"), { "route.conf": text });
  }

  /** Puts another public certificate in place, as a renewed Secret would. */
  async renewCertificate(from: string): Promise<void> {
    await installCertificate(from, join(this.dir, "tls"));
  }

  /** The access log, after what is buffered has been written. */
  async accessLog(): Promise<string> {
    await sleep(1200);
    return readFile(join(this.dir, "out"), "utf8");
  }

  async errorLog(): Promise<string> {
    return readFile(join(this.dir, "err"), "utf8");
  }

  /** How many worker processes NGINX has now; after a reload those of before it are among them until they end. */
  async workers(): Promise<number> {
    const count = async (pid: number): Promise<number> => {
      // A process that ends meanwhile has neither name nor children.
      const [title, children] = await Promise.all(
        ["cmdline", `task/${pid}/children`].map((file) => readFile(`/proc/${pid}/${file}`, "utf8").catch(() => "")),
      );
      const below = await Promise.all(
        children!
          .trim()
          .split(" ")
          .filter(Boolean)
          .map((child) => count(Number(child))),
      );
      return below.reduce((sum, one) => sum + one, title!.startsWith("nginx: worker process") ? 1 : 0);
    };
    return count(await this.pid());
  }

  /** Waits until the error stream holds a text. */
  async untilLogged(text: RegExp, timeoutMs = 10_000): Promise<void> {
    const deadline = Date.now() + timeoutMs;
    while (!text.test(await this.errorLog())) {
      if (Date.now() > deadline)
        throw new Error(`${String(text)} did not appear within ${timeoutMs} ms in:\n${await this.errorLog()}`);
      await sleep(50);
    }
  }

  /** The first process of the image's process namespace, which is what a container engine signals. */
  async pid(): Promise<number> {
    const children = await readFile(`/proc/${this.child.pid}/task/${this.child.pid}/children`, "utf8");
    return Number(children.trim().split(" ")[0]);
  }

  /** Sends TERM, as the kubelet does. Resolves with the time in milliseconds until all has ended. */
  async terminate(timeoutMs = 20_000): Promise<number> {
    const started = performance.now();
    const ended = new Promise((resolve) => this.child.once("exit", resolve));
    process.kill(await this.pid(), "SIGTERM");
    const late = sleep(timeoutMs, "late", { ref: false });
    if ((await Promise.race([ended, late])) === "late") throw new Error(`the edge did not end within ${timeoutMs} ms`);
    return performance.now() - started;
  }

  async stop(): Promise<void> {
    if (this.child.exitCode === null && this.child.signalCode === null) {
      const ended = new Promise((resolve) => this.child.once("exit", resolve));
      // With it go all in its process namespace.
      this.child.kill("SIGKILL");
      await ended;
    }
    await rm(this.dir, { recursive: true, force: true });
  }

  private async untilHealthy(): Promise<void> {
    const deadline = Date.now() + 30_000;
    for (;;) {
      const ok = await fetch(`http://127.0.0.1:${this.ports.health}/health`).then(
        (r) => r.ok,
        () => false,
      );
      if (ok) return;
      if (this.child.exitCode !== null || Date.now() > deadline)
        throw new Error(`the edge did not start:\n${await this.errorLog()}`);
      await sleep(25);
    }
  }
}

function configOf(options: EdgeOptions, ports: EdgePorts): Record<string, string> {
  const plan: EdgePlan = {
    settings: edgeSettings.parse(options.settings ?? {}),
    region: options.region ?? "beijing",
    domain: DOMAIN,
    upstream: { ...options.upstream, tlsName: "iam-api" },
    ports,
  };
  return { ...edgeConfig(plan), ...(typeof options.replace === "function" ? options.replace(ports) : options.replace) };
}

async function spawnEdge(root: string, dir: string, options: EdgeOptions): Promise<ChildProcess> {
  await mkdir(join(root, PATHS.clientTls), { recursive: true });
  const binds = {
    [PATHS.config]: "conf",
    [PATHS.tls]: "tls",
    [PATHS.clientTls]: "client-tls",
    [PATHS.upstreams]: "upstreams",
  };
  const drain = edgeSettings.parse(options.settings ?? {}).drainSeconds;
  const script = [
    "set -e",
    "mount --make-rprivate /",
    'mount --bind "$R" "$R"',
    ...Object.entries(binds).map(([inside, folder]) => `mount --bind "$D/${folder}" "$R${inside}"`),
    ...[PATHS.run, PATHS.cache, "/tmp"].map(
      (path) => `mount -t tmpfs -o mode=0700,uid=${IMAGE_UID},gid=${IMAGE_UID} tmpfs "$R${path}"`,
    ),
    'mount -t proc proc "$R/proc"',
    'mount --rbind /dev "$R/dev"',
    'mount -o remount,bind,ro "$R"',
    // The first process stays root: the order to end with its parent (--kill-child) is lost where a process changes its
    // user. It hands on the signal that the kubelet would send.
    `chroot "$R" /usr/bin/setpriv --reuid ${IMAGE_UID} --regid ${IMAGE_UID} --clear-groups --inh-caps=-all --bounding-set=-all --no-new-privs -- "$@" &`,
    "child=$!",
    'trap "kill -TERM $child" TERM',
    "while kill -0 $child 2>/dev/null; do wait $child || true; done",
  ].join("\n");
  // Files and no pipes: what Node calls a pipe is a socket, and /dev/stdout cannot be opened on one.
  const [out, err] = [await open(join(dir, "out"), "a"), await open(join(dir, "err"), "a")];
  const command = ["/usr/bin/tini", "--", "/usr/local/bin/edge-entrypoint", PATHS.main];
  const child = spawn(
    "setpriv",
    [
      "--pdeathsig",
      "KILL",
      "unshare",
      "--mount",
      "--pid",
      "--fork",
      "--kill-child",
      "--",
      "sh",
      "-c",
      script,
      "sh",
      ...command,
    ],
    {
      stdio: ["ignore", out.fd, err.fd],
      env: {
        PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        R: root,
        D: dir,
        EDGE_WATCH: Object.keys(binds).join(" "),
        EDGE_DRAIN_SECONDS: String(drain),
      },
    },
  );
  await Promise.all([out.close(), err.close()]);
  return child;
}

/** Each file whole, by rename; one that has not changed is left alone. */
async function writeFiles(dir: string, files: Readonly<Record<string, string>>): Promise<void> {
  const old = new Set(await readdir(dir));
  for (const [name, text] of Object.entries(files)) {
    if (old.has(name) && (await readFile(join(dir, name), "utf8")) === text) continue;
    await writeFile(join(dir, `..${name}`), text);
    await rename(join(dir, `..${name}`), join(dir, name));
  }
}

async function installCertificate(from: string, to: string): Promise<void> {
  for (const file of ["tls.crt", "tls.key", "ca.crt"]) {
    await copyFile(join(from, file), join(to, `..${file}`));
    await chown(join(to, `..${file}`), IMAGE_UID, IMAGE_UID);
    await rename(join(to, `..${file}`), join(to, file));
  }
}

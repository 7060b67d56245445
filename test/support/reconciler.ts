import type { ChildProcess } from "node:child_process";
import { chmod, chown, mkdir, mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { credentialsConfig, reconcilerConfig, type Passwords } from "../../components/postgres/patroni.ts";
import { scriptFiles } from "../../components/postgres/scripts.ts";
import { postgresSettings } from "../../components/postgres/settings.ts";
import { issueCertificate, makeAuthority } from "./certificates.ts";
import { IMAGE_UID, spawnInImage } from "./image-root.ts";

export const PASSWORDS: Passwords = {
  superuser: "superuser-password-1",
  replication: "replication-password-1",
  rewind: "rewind-password-1",
  application: "application-password-1",
  monitor: "monitor-password-1",
  restApi: "rest-password-1",
};

/** The folders that a database pod's containers see, as files that a test can change. */
export class PodFiles {
  readonly folder: string;
  readonly settings = postgresSettings.parse({});

  private constructor(folder: string) {
    this.folder = folder;
  }

  static async make(): Promise<PodFiles> {
    const files = new PodFiles(await mkdtemp(join(tmpdir(), "test-reconciler-")));
    await chmod(files.folder, 0o755);
    for (const part of ["ca", "config", "scripts", "tls", "run"]) await mkdir(join(files.folder, part));
    await chown(join(files.folder, "run"), IMAGE_UID, IMAGE_UID);
    await makeAuthority(join(files.folder, "ca"));
    await files.renewCertificate();
    for (const [name, text] of Object.entries(scriptFiles(files.settings))) await files.write(`scripts/${name}`, text);
    await files.configure({});
    await files.write("config/10-patroni.yml", "scope: test\n");
    await files.desire({ ttl: 20 });
    await files.setPasswords(PASSWORDS);
    return files;
  }

  get mounts(): Record<string, string> {
    const at = (part: string) => join(this.folder, part);
    return {
      "/etc/hosts": "/etc/hosts",
      "/etc/patroni": at("config"),
      "/etc/iam-ha": at("scripts"),
      "/etc/postgresql/tls": at("tls"),
      "/run/reconciler": at("run"),
    };
  }

  /** Changes a file as a whole, as the kubelet does. */
  async write(path: string, text: string): Promise<void> {
    const full = join(this.folder, path);
    await writeFile(`${full}.new`, text, { mode: 0o644 });
    await rename(`${full}.new`, full);
  }

  async renewCertificate(): Promise<void> {
    await issueCertificate(join(this.folder, "ca"), join(this.folder, "tls"), ["localhost"]);
    await chmod(join(this.folder, "tls/tls.key"), 0o644);
  }

  /** What reconciler.json says: fast, and nobody waits for members, unless told otherwise. */
  async configure(changes: object): Promise<void> {
    const settings = {
      ...reconcilerConfig(this.settings),
      interval_seconds: 0.2,
      quiet_seconds: 1,
      members: 1,
      ...changes,
    };
    await this.write("scripts/reconciler.json", JSON.stringify(settings));
  }

  async desire(dcs: object): Promise<void> {
    await this.write("config/20-dynamic.yml", JSON.stringify({ bootstrap: { dcs } }));
  }

  async setPasswords(passwords: Passwords): Promise<void> {
    await this.write("config/30-credentials.yml", JSON.stringify(credentialsConfig(passwords)));
  }

  async remove(): Promise<void> {
    await rm(this.folder, { recursive: true, force: true });
  }
}

export interface FakeMember {
  name: string;
  role: string;
  state: string;
  host?: string;
  port?: number;
  lag?: number;
  pending_restart?: boolean;
}

/** Patroni's REST API, as far as the reconciler uses it: over TLS, changes by password only. What the fake is asked for
 *  stands in `seen`. */
export class FakePatroni {
  me: { state: string; role: string; pause?: boolean; [more: string]: unknown } = {
    state: "running",
    role: "standby_leader",
  };
  members: FakeMember[] = [{ name: "a", role: "standby_leader", state: "running" }];
  config: Record<string, unknown> = {};
  password = PASSWORDS.restApi;
  /** Password that it takes over when it is told to reload. */
  nextPassword: string | undefined;
  readonly seen: string[] = [];
  refused = 0;
  readonly #server: Server;

  private constructor(server: Server) {
    this.#server = server;
  }

  static async start(files: PodFiles): Promise<FakePatroni> {
    const read = (name: string) => readFileSync(join(files.folder, "tls", name));
    const server = createServer({ cert: read("tls.crt"), key: read("tls.key") });
    const fake = new FakePatroni(server);
    server.on("request", (request, response) => {
      let body = "";
      request.on("data", (chunk: Buffer) => (body += chunk.toString()));
      request.on("end", () => {
        const [status, answer] = fake.#answer(request.method!, request.url!, request.headers.authorization, body);
        response.writeHead(status, { "Content-Type": "application/json" }).end(JSON.stringify(answer));
      });
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return fake;
  }

  get url(): string {
    return `https://localhost:${(this.#server.address() as AddressInfo).port}`;
  }

  stop(): Promise<void> {
    this.#server.closeAllConnections();
    return new Promise((resolve) => this.#server.close(() => resolve()));
  }

  #answer(method: string, path: string, authorization: string | undefined, body: string): [number, unknown] {
    if (method === "GET") {
      if (path === "/patroni") return [200, { patroni: { name: "a" }, ...this.me }];
      if (path === "/cluster")
        return [200, { members: this.members.map((m) => ({ ...m, api_url: `${this.url}/patroni` })) }];
      return path === "/config" ? [200, this.config] : [404, {}];
    }
    if (authorization !== `Basic ${Buffer.from(`patroni:${this.password}`).toString("base64")}`) {
      this.refused += 1;
      return [401, "no auth"];
    }
    this.seen.push(`${method} ${path}${body === "" ? "" : ` ${body}`}`);
    if (path === "/reload") this.password = this.nextPassword ?? this.password;
    if (path === "/config") merge(this.config, JSON.parse(body) as Record<string, unknown>);
    if (path === "/restart") for (const member of this.members) delete member.pending_restart;
    return [path === "/reload" ? 202 : 200, {}];
  }
}

function merge(config: Record<string, unknown>, patch: Record<string, unknown>): void {
  for (const [key, value] of Object.entries(patch)) {
    const old = config[key];
    if (value === null) delete config[key];
    else if (isRecord(value) && isRecord(old)) merge(old, value);
    else config[key] = value;
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The reconciler as it runs in its container: the image's Python, the image's user. */
export class RunningReconciler {
  readonly child: ChildProcess;
  log = "";

  constructor(root: string, files: PodFiles, env: Record<string, string>, mounts: Record<string, string> = {}) {
    this.child = spawnInImage(root, ["/usr/bin/python3", "-u", "/etc/iam-ha/reconciler.py"], {
      mounts: { ...files.mounts, ...mounts },
      env: { PATH: "/usr/lib/postgresql/17/bin:/usr/sbin:/usr/bin:/sbin:/bin", PYTHONDONTWRITEBYTECODE: "1", ...env },
    });
    for (const stream of [this.child.stdout, this.child.stderr]) {
      stream?.on("data", (chunk: Buffer) => (this.log += chunk.toString()));
    }
  }

  /** The events that it logged. */
  get events(): Record<string, unknown>[] {
    return this.log
      .split("\n")
      .filter((line) => line.startsWith("{"))
      .map((line) => JSON.parse(line) as Record<string, unknown>);
  }

  async until(what: string, condition: () => boolean, timeoutMs = 20_000): Promise<void> {
    for (const end = Date.now() + timeoutMs; !condition(); await sleep(50)) {
      if (Date.now() > end) throw new Error(`${what}: not within ${timeoutMs} ms; log:\n${this.log}`);
    }
  }

  /** Ends it, and gives its exit code and how long that took. */
  async stop(): Promise<{ code: number | null; ms: number }> {
    const start = Date.now();
    if (this.child.exitCode === null) {
      const ended = new Promise((resolve) => this.child.once("exit", resolve));
      this.child.kill("SIGTERM");
      await Promise.race([ended, sleep(10_000).then(() => this.child.kill("SIGKILL"))]);
    }
    return { code: this.child.exitCode, ms: Date.now() - start };
  }
}

import { spawn, type ChildProcess } from "node:child_process";
import { mkdirSync, readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import https from "node:https";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { ensurePackages } from "../../scripts/local/effects/packages.ts";
import { planInstance } from "../../scripts/local/plan/instance.ts";
import { freePorts } from "./sockets.ts";

const b64 = (text: string) => Buffer.from(text).toString("base64");
const ROOT_PASSWORD = "root-password-0000000001";

/** A cluster of etcd members on loopback, Debian's own, with TLS and client certificates demanded. */
export class TestEtcd {
  readonly #folder: string;
  readonly #tls: string;
  readonly #program: string;
  readonly #members: { client: number; peer: number; process: ChildProcess | undefined }[] = [];

  private constructor(folder: string, tls: string, program: string) {
    this.#folder = folder;
    this.#tls = tls;
    this.#program = program;
  }

  /** Makes members without starting them.
   *  @param folder for their data
   *  @param tls folder with tls.crt, tls.key (good for localhost) and ca.crt */
  static async make(folder: string, tls: string, count: number): Promise<TestEtcd> {
    const release = await readFile("/etc/os-release", "utf8");
    const debian = /^VERSION_ID="?([^"\n]+)/m.exec(release)?.[1] ?? "";
    const unpacked = await ensurePackages({ cache: planInstance(process.env).cache, debian });
    const etcd = new TestEtcd(folder, tls, join(unpacked, "usr/bin/etcd"));
    const ports = await freePorts(2 * count);
    for (let i = 0; i < count; i++) {
      mkdirSync(join(folder, `member-${i}`), { mode: 0o700 });
      etcd.#members.push({ client: ports[2 * i]!, peer: ports[2 * i + 1]!, process: undefined });
    }
    return etcd;
  }

  /** URL of each member, for clients. */
  get endpoints(): string[] {
    return this.#members.map(({ client }) => `https://localhost:${client}`);
  }

  start(...which: number[]): void {
    for (const i of which) {
      const member = this.#members[i]!;
      const [client, peer] = [`https://localhost:${member.client}`, `http://127.0.0.1:${member.peer}`];
      const cluster = this.#members.map(({ peer }, n) => `m${n}=http://127.0.0.1:${peer}`).join(",");
      member.process = spawn(
        this.#program,
        [
          ...["--name", `m${i}`, "--data-dir", join(this.#folder, `member-${i}`), "--logger", "zap"],
          ...["--listen-client-urls", `https://127.0.0.1:${member.client}`, "--advertise-client-urls", client],
          ...["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", cluster],
          // A trusted CA makes it demand clients' certificates.
          ...["--trusted-ca-file", join(this.#tls, "ca.crt"), "--log-level", "error"],
          ...["--cert-file", join(this.#tls, "tls.crt"), "--key-file", join(this.#tls, "tls.key")],
        ],
        { stdio: "ignore" },
      );
    }
  }

  async kill(...which: number[]): Promise<void> {
    await Promise.all(
      which.map(async (i) => {
        const running = this.#members[i]!.process;
        this.#members[i]!.process = undefined;
        if (!running || running.exitCode !== null) return;
        const ended = new Promise((resolve) => running.once("exit", resolve));
        running.kill("SIGKILL");
        await ended;
      }),
    );
  }

  stop(): Promise<void> {
    return this.kill(...this.#members.keys());
  }

  /** Users and roles: `root`, and `reader`, who may read below a prefix. */
  async enableAuth(reader: string, password: string, prefix: string): Promise<void> {
    await this.untilUp();
    await this.#call("/v3/auth/user/add", { name: "root", password: ROOT_PASSWORD });
    await this.#call("/v3/auth/role/add", { name: "root" });
    await this.#call("/v3/auth/user/grant", { user: "root", role: "root" });
    await this.#call("/v3/auth/user/add", { name: reader, password });
    await this.#call("/v3/auth/role/add", { name: reader });
    const end = prefix.slice(0, -1) + String.fromCharCode(prefix.charCodeAt(prefix.length - 1) + 1);
    const perm = { permType: "READ", key: b64(prefix), range_end: b64(end) };
    await this.#call("/v3/auth/role/grant", { name: reader, perm });
    await this.#call("/v3/auth/user/grant", { user: reader, role: reader });
    await this.#call("/v3/auth/enable", {});
  }

  async setPassword(name: string, password: string): Promise<void> {
    await this.#asRoot("/v3/auth/user/changepw", { name, password });
  }

  async put(key: string, value: string): Promise<void> {
    await this.#asRoot("/v3/kv/put", { key: b64(key), value: b64(value) });
  }

  async #asRoot(path: string, body: object): Promise<void> {
    const { token } = (await this.#call("/v3/auth/authenticate", { name: "root", password: ROOT_PASSWORD })) as {
      token: string;
    };
    await this.#call(path, body, token);
  }

  /** Waits until a majority has a leader. */
  async untilUp(timeoutMs = 20_000): Promise<void> {
    const deadline = Date.now() + timeoutMs;
    for (;;) {
      try {
        await this.#call("/v3/auth/authenticate", { name: "nobody", password: "x" });
      } catch (error) {
        // What a leader says, with authentication on or off.
        if (/not enabled|invalid user|authentication failed/.test(String(error))) return;
      }
      if (Date.now() > deadline) throw new Error(`etcd has no leader after ${timeoutMs} ms`);
      await sleep(100);
    }
  }

  #call(path: string, body: object, token?: string): Promise<unknown> {
    const member = this.#members.find(({ process }) => process !== undefined)!;
    const read = (file: string) => readFileSync(join(this.#tls, file));
    return new Promise((resolve, reject) => {
      const req = https.request(
        {
          ...{ host: "localhost", port: member.client, path, method: "POST", agent: false, timeout: 5000 },
          ...{ ca: read("ca.crt"), cert: read("tls.crt"), key: read("tls.key") },
          headers: token === undefined ? {} : { Authorization: token },
        },
        (res) => {
          let text = "";
          res.on("data", (chunk: Buffer) => (text += chunk.toString()));
          res.once("end", () =>
            res.statusCode === 200 ? resolve(JSON.parse(text)) : reject(new Error(`${path}: ${text}`)),
          );
        },
      );
      req.once("error", reject);
      req.once("timeout", () => req.destroy(new Error(`${path}: no answer`)));
      req.end(JSON.stringify(body));
    });
  }
}

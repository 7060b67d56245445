import { spawn, type ChildProcess } from "node:child_process";
import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { cachePaths } from "../../scripts/images/cache.ts";
import { osRelease } from "../../scripts/local/effects/facts.ts";
import { ensurePackages } from "../../scripts/local/effects/packages.ts";
import { callJson } from "../../sidecar/region/https.ts";
import type { TlsFiles } from "../../sidecar/region/tls.ts";
import { eventually } from "./redis-servers.ts";
import { freePorts } from "./sockets.ts";

export const WITNESS_USER = "controller";
export const WITNESS_PASSWORD = "witness-password-000001";
const ROOT_PASSWORD = "witness-root-password-1";

interface Member {
  readonly region: string;
  readonly url: string;
  readonly argv: readonly string[];
  process: ChildProcess | undefined;
  log: string;
}

export interface TestWitnessOptions {
  readonly folder: string;
  readonly regions: readonly string[];
  /** Folder with tls.crt, tls.key and ca.crt, good for `witness-<region>.test`. */
  readonly tls: string;
  /** A client's certificate, with names of `.test` led to this machine. */
  readonly client: TlsFiles;
}

/** A real etcd of a member a region on loopback, with client certificates, users and the gateway, as it is deployed. */
export class TestWitness {
  readonly #client: TlsFiles;
  readonly #members: readonly Member[];
  readonly #program: string;

  private constructor(program: string, members: readonly Member[], client: TlsFiles) {
    this.#program = program;
    this.#members = members;
    this.#client = client;
  }

  static async start({ folder, regions, tls, client }: TestWitnessOptions): Promise<TestWitness> {
    const cache = join(cachePaths().root, "..");
    const packages = await ensurePackages({ cache, debian: (await osRelease()).version });
    const ports = await freePorts(2 * regions.length);
    const peerUrl = (i: number) => `http://127.0.0.1:${ports[2 * i + 1]}`;
    const members = await Promise.all(
      regions.map(async (region, i): Promise<Member> => {
        const data = join(folder, `etcd-${region}`);
        await mkdir(data, { mode: 0o700 });
        const url = `https://witness-${region}.test:${ports[2 * i]}`;
        const argv = [
          ...["--name", region, "--data-dir", data],
          ...["--listen-client-urls", `https://127.0.0.1:${ports[2 * i]}`, "--advertise-client-urls", url],
          ...["--listen-peer-urls", peerUrl(i), "--initial-advertise-peer-urls", peerUrl(i)],
          ...["--initial-cluster", regions.map((name, j) => `${name}=${peerUrl(j)}`).join(",")],
          ...["--cert-file", join(tls, "tls.crt"), "--key-file", join(tls, "tls.key")],
          ...["--trusted-ca-file", join(tls, "ca.crt")],
          ...["--heartbeat-interval", "100", "--election-timeout", "1000", "--log-level", "error"],
        ];
        return { region, url, argv, process: undefined, log: "" };
      }),
    );
    const witness = new TestWitness(join(packages, "usr/bin/etcd"), members, client);
    for (const { region } of members) witness.resume(region);
    await witness.#makeUsers();
    return witness;
  }

  url(region: string): string {
    return this.#member(region).url;
  }

  #member(region: string): Member {
    return this.#members.find((member) => member.region === region)!;
  }

  /** Starts a member again, with its data. */
  resume(region: string): void {
    const member = this.#member(region);
    const child = spawn(this.#program, member.argv, { stdio: ["ignore", "pipe", "pipe"] });
    const keep = (chunk: Buffer) => (member.log = (member.log + chunk.toString()).slice(-4000));
    child.stdout.on("data", keep);
    child.stderr.on("data", keep);
    member.process = child;
  }

  async kill(region: string): Promise<void> {
    const member = this.#member(region);
    const child = member.process;
    member.process = undefined;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGKILL");
    await ended;
  }

  /** Stops a member from answering without closing a connection. */
  freeze(region: string): void {
    this.#member(region).process?.kill("SIGSTOP");
  }

  thaw(region: string): void {
    this.#member(region).process?.kill("SIGCONT");
  }

  async stop(folder: string): Promise<void> {
    await Promise.all(this.#members.map(({ region }) => this.kill(region)));
    await rm(folder, { recursive: true, force: true });
  }

  async #post(path: string, body: object, token?: string): Promise<{ token?: string }> {
    return (await callJson(this.#client, `${this.#members[0]!.url}${path}`, {
      method: "POST",
      body,
      headers: token === undefined ? {} : { authorization: token },
      timeoutMillis: 5000,
    })) as { token?: string };
  }

  async #makeUsers(): Promise<void> {
    await eventually("the witness has a leader", 30_000, async () => {
      const answer = await this.#post("/v3/maintenance/status", {}).catch((error: unknown) => {
        throw new Error(`${String(error)} ${this.#members[0]!.log}`);
      });
      return "leader" in answer;
    });
    const range = (prefix: string) => ({
      key: Buffer.from(prefix).toString("base64"),
      range_end: Buffer.from(`${prefix.slice(0, -1)}0`).toString("base64"),
      permType: "READWRITE",
    });
    await this.#post("/v3/auth/user/add", { name: "root", password: ROOT_PASSWORD });
    await this.#post("/v3/auth/role/add", { name: "root" });
    await this.#post("/v3/auth/user/grant", { user: "root", role: "root" });
    await this.#post("/v3/auth/user/add", { name: WITNESS_USER, password: WITNESS_PASSWORD });
    await this.#post("/v3/auth/role/add", { name: "controller" });
    for (const prefix of ["/iam-ha/", "/skydns/"])
      await this.#post("/v3/auth/role/grant", { name: "controller", perm: range(prefix) });
    await this.#post("/v3/auth/user/grant", { user: WITNESS_USER, role: "controller" });
    await this.#post("/v3/auth/enable", {});
  }

  /** Deletes keys by hand, as nobody should. */
  async deletePrefix(prefix: string): Promise<void> {
    const { token } = await this.#post("/v3/auth/authenticate", { name: "root", password: ROOT_PASSWORD });
    const from = Buffer.from(prefix).toString("base64");
    const to = Buffer.from(`${prefix.slice(0, -1)}0`).toString("base64");
    await this.#post("/v3/kv/deleterange", { key: from, range_end: to }, token);
  }
}

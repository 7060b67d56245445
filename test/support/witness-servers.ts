import { execFileSync, type ChildProcess } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { request } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PATHS, witnessConfig } from "../../components/witness/plan.ts";
import { witnessSettings } from "../../components/witness/settings.ts";
import { issueCertificate, makeAuthority } from "./certificates.ts";
import { endOf, IMAGE_UID, imageRoot, spawnInImage } from "./image-root.ts";
import { eventually } from "./redis-servers.ts";

/** Real members of the witness on loopback addresses: the image's own programs with the component's configuration. Each
 *  region's names lead to its own loopback address by a hosts file in the members' mount namespaces. */

export interface Answer {
  readonly status: number;
  readonly body: Record<string, unknown>;
}
export type WitnessUser = "root" | "region-controller" | "dns";

const FILES: Record<WitnessUser, string> = { root: "root", "region-controller": "controller", dns: "dns" };
export const DOMAIN = "iam.test";

interface Member {
  readonly region: string;
  readonly folder: string;
  readonly address: string;
  process: ChildProcess | undefined;
  log: string[];
}

export class WitnessServers {
  readonly folder = mkdtempSync(join(tmpdir(), "iam-ha-witness-"));
  readonly members = new Map<string, Member>();
  readonly settings;
  readonly passwords: Record<WitnessUser, string> = {
    root: "root-password-00000000001",
    "region-controller": "controller-password-000001",
    dns: "dns-password-000000000001",
  };
  readonly #regions: readonly string[];
  readonly #tokens = new Map<string, string>();
  #root = "";

  constructor(regions: readonly string[], overrides: object = {}) {
    this.#regions = regions;
    this.settings = witnessSettings.parse({ pollSeconds: 1, ...overrides });
  }

  /** Makes certificates, passwords and folders; starts nothing. */
  async prepare(): Promise<void> {
    this.#root = await imageRoot("witness");
    mkdirSync(join(this.folder, "authority"));
    await makeAuthority(join(this.folder, "authority"));
    mkdirSync(join(this.folder, "client"));
    // As a region controller has it: of the same authority, with a common name, and no member's name in it.
    await issueCertificate(join(this.folder, "authority"), join(this.folder, "client"), [`region-x.${DOMAIN}`]);
    for (const [i, region] of this.#regions.entries()) {
      const folder = join(this.folder, region);
      for (const part of ["config", "secrets", "tls", "data", "run"])
        mkdirSync(join(folder, part), { recursive: true });
      const member = { region, folder, address: `127.${process.pid % 200}.7.${i + 1}`, process: undefined, log: [] };
      this.members.set(region, member);
      await issueCertificate(join(this.folder, "authority"), join(folder, "tls"), [
        `witness-${region}.${DOMAIN}`,
        "witness",
        "localhost",
      ]);
      for (const user of ["root", "region-controller", "dns"] as const) this.setPassword(region, user);
    }
    for (const member of this.members.values()) {
      const hosts = [...this.members.values()].map((one) => `${one.address} witness-${one.region}.${DOMAIN}`);
      writeFileSync(join(member.folder, "hosts"), [...hosts, `${member.address} localhost`, ""].join("\n"));
      this.configure(member.region);
    }
  }

  configure(region: string, changes: object = {}): void {
    const config = witnessConfig({ region, domain: DOMAIN }, this.settings, this.#regions);
    writeFileSync(join(this.member(region).folder, "config/witness.json"), JSON.stringify({ ...config, ...changes }));
  }

  /** Puts a password into the mounted files of one region. */
  setPassword(region: string, user: WitnessUser, password = this.passwords[user]): void {
    const file = join(this.member(region).folder, "secrets", FILES[user]);
    writeFileSync(file, password, { mode: 0o440 });
  }

  member(region: string): Member {
    const found = this.members.get(region);
    if (!found) throw new Error(`no member ${region}`);
    return found;
  }

  start(region: string, env: Record<string, string> = {}): void {
    const member = this.member(region);
    rmSync(join(member.folder, "run"), { recursive: true, force: true });
    mkdirSync(join(member.folder, "run"));
    execFileSync("chown", ["-R", `${IMAGE_UID}:${IMAGE_UID}`, member.folder]);
    const child = this.#spawn(member, ["witness-entrypoint", `${PATHS.config}/witness.json`], env);
    const keep = (chunk: Buffer) => member.log.push(chunk.toString());
    child.stdout?.on("data", keep);
    child.stderr?.on("data", keep);
    member.process = child;
  }

  #spawn(member: Member, argv: readonly string[], env: Record<string, string> = {}): ChildProcess {
    return spawnInImage(this.#root, argv, {
      mounts: {
        [PATHS.config]: join(member.folder, "config"),
        [PATHS.secrets]: join(member.folder, "secrets"),
        [PATHS.tls]: join(member.folder, "tls"),
        [PATHS.data]: join(member.folder, "data"),
        [PATHS.run]: join(member.folder, "run"),
        "/etc/hosts": join(member.folder, "hosts"),
        "/proc": "/proc",
      },
      env: { WITNESS_LISTEN: member.address, WITNESS_LOCAL: member.address, ...env },
    });
  }

  /** Runs a program of the image beside the member. */
  beside(region: string, ...argv: string[]): Promise<{ code: number | null; output: string }> {
    return endOf(this.#spawn(this.member(region), argv), 30_000);
  }

  log(region: string): string {
    return this.member(region).log.join("");
  }

  running(region: string): boolean {
    const child = this.member(region).process;
    return child !== undefined && child.exitCode === null && child.signalCode === null;
  }

  /** Ends a member and, when killed, its etcd with it, as a killed pod does. */
  async stop(region: string, signal: NodeJS.Signals = "SIGKILL"): Promise<void> {
    const member = this.member(region);
    const child = member.process;
    member.process = undefined;
    if (!child?.pid || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once("exit", resolve));
    const children = childrenOf(child.pid);
    child.kill(signal);
    if (signal === "SIGKILL") for (const pid of children) kill(pid);
    await ended;
  }

  /** The volume is lost. The member must be stopped. */
  loseVolume(region: string): void {
    const data = join(this.member(region).folder, "data");
    rmSync(data, { recursive: true });
    mkdirSync(data);
  }

  file(region: string, path: string): string | undefined {
    const file = join(this.member(region).folder, "data", path);
    return existsSync(file) ? readFileSync(file, "utf8") : undefined;
  }

  /** One call of the JSON gateway at one member. */
  post(
    region: string,
    path: string,
    body: object,
    options: { token?: string; certificate?: boolean; timeoutMs?: number; port?: number } = {},
  ): Promise<Answer> {
    const tls = (file: string) => readFileSync(join(this.folder, "client", file));
    const { token, certificate = true, timeoutMs = 3000, port = 2379 } = options;
    return new Promise((resolve, reject) => {
      const sent = request(
        {
          host: this.member(region).address,
          port,
          servername: `witness-${region}.${DOMAIN}`,
          path,
          method: "POST",
          ca: tls("ca.crt"),
          ...(certificate ? { cert: tls("tls.crt"), key: tls("tls.key") } : {}),
          agent: false,
          headers: token === undefined ? {} : { authorization: token },
          signal: AbortSignal.timeout(timeoutMs),
        },
        (response) => {
          const chunks: Buffer[] = [];
          response.on("data", (chunk: Buffer) => chunks.push(chunk));
          response.on("error", reject);
          response.on("end", () => {
            try {
              const text = Buffer.concat(chunks).toString();
              resolve({ status: response.statusCode ?? 0, body: JSON.parse(text) as Answer["body"] });
            } catch (error) {
              reject(error instanceof Error ? error : new Error(String(error)));
            }
          });
        },
      );
      sent.on("error", reject);
      sent.end(JSON.stringify(body));
    });
  }

  /** A call at the peers' port, with a client's certificate. */
  peer(region: string, path: string): Promise<Answer> {
    return this.post(region, path, {}, { port: 2380 });
  }

  /** As a user; logs in when need be. */
  async as(user: WitnessUser, region: string, path: string, body: object, timeoutMs = 3000): Promise<Answer> {
    const key = `${user} ${region}`;
    for (let attempt = 0; ; attempt++) {
      const token = this.#tokens.get(key) ?? (await this.login(region, user));
      this.#tokens.set(key, token);
      const answer = await this.post(region, path, body, { token, timeoutMs }).catch((error: unknown) => {
        // Tokens carry a log's index, and etcd waits for it: one of an earlier cluster is not refused but never answered.
        this.#tokens.delete(key);
        throw error;
      });
      if (attempt > 0 || (answer.status !== 401 && answer.body["code"] !== 3)) return answer;
      this.#tokens.delete(key);
    }
  }

  async login(region: string, user: WitnessUser, password = this.passwords[user]): Promise<string> {
    const answer = await this.post(region, "/v3/auth/authenticate", { name: user, password });
    if (answer.status !== 200) throw new Error(`${user} at ${region}: ${JSON.stringify(answer)}`);
    return answer.body["token"] as string;
  }

  /** Writes as the region controller; fails when it is not committed. */
  async put(region: string, key: string, value: string, timeoutMs = 3000): Promise<void> {
    const body = { key: base64(key), value: base64(value) };
    const answer = await this.as("region-controller", region, "/v3/kv/put", body, timeoutMs);
    if (answer.status !== 200) throw new Error(`put at ${region}: ${JSON.stringify(answer)}`);
  }

  async get(region: string, key: string): Promise<string | undefined> {
    const answer = await this.as("region-controller", region, "/v3/kv/range", { key: base64(key) });
    if (answer.status !== 200) throw new Error(`get at ${region}: ${JSON.stringify(answer)}`);
    const value = (answer.body["kvs"] as { value: string }[] | undefined)?.[0]?.value;
    return value === undefined ? undefined : Buffer.from(value, "base64").toString();
  }

  /** etcd's own list, as a majority has it: id by region, and whether each has started. */
  async list(region: string): Promise<Record<string, { id: string; started: boolean }>> {
    const answer = await this.post(region, "/v3/cluster/member/list", { linearizable: true });
    if (answer.status !== 200) throw new Error(`members at ${region}: ${JSON.stringify(answer)}`);
    const members = answer.body["members"] as { ID: string; peerURLs: string[]; clientURLs?: string[] }[];
    return Object.fromEntries(
      members.map(({ ID, peerURLs, clientURLs }) => [
        /witness-([a-z]+)/.exec(peerURLs[0]!)![1]!,
        { id: BigInt(ID).toString(16), started: clientURLs !== undefined },
      ]),
    );
  }

  /** Region of the leader, as one member sees it; undefined without one. */
  async leader(region: string): Promise<string | undefined> {
    const { body } = await this.post(region, "/v3/maintenance/status", {});
    const leader = body["leader"] as string | undefined;
    if (leader === undefined || leader === "0") return undefined;
    const id = BigInt(leader).toString(16);
    return Object.entries(await this.list(region)).find(([, member]) => member.id === id)?.[0];
  }

  /** Waits until a member serves a write and every user has its rights. */
  settled(region: string, timeoutMs = 90_000): Promise<number> {
    return eventually(`${region} settles`, timeoutMs, async () => {
      await this.put(region, "/iam-ha/test/settled", region);
      return /as they should be/.test(this.log(region));
    });
  }

  async close(): Promise<void> {
    await Promise.all([...this.members.keys()].map((region) => this.stop(region)));
    rmSync(this.folder, { recursive: true, force: true });
  }
}

export function base64(text: string): string {
  return Buffer.from(text).toString("base64");
}

function childrenOf(pid: number): number[] {
  try {
    return readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(" ").filter(Boolean).map(Number);
  } catch {
    return [];
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It ended by itself.
  }
}

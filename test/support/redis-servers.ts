import { execFileSync, type ChildProcess } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import type { LookupFunction } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Redis } from "ioredis";
import { PATHS, redisConf, scriptEnvironment, usersAcl } from "../../components/redis/plan.ts";
import { redisSettings, REDIS_USERS, type RedisUser } from "../../components/redis/settings.ts";
import { issueCertificate, makeAuthority } from "./certificates.ts";
import { endOf, IMAGE_UID, imageRoot, spawnInImage } from "./image-root.ts";
import { freePorts } from "./sockets.ts";

/** Real Redis nodes on loopback addresses: the image's own server, the component's configuration and scripts. A node's
 *  address stands for its pod's: it changes by starting the node at another one. */

export interface TestNode {
  readonly name: string;
  readonly folder: string;
  address: string;
  process: ChildProcess | undefined;
}

const SCRIPTS = new URL("../../components/redis/scripts/", import.meta.url).pathname;
export const PASSWORDS: Record<RedisUser, string> = {
  iam: "application-password-0001",
  keeper: "keeper-password-00000001",
  node: "node-password-0000000001",
  sync: "sync-password-0000000001",
};

export class RedisServers {
  readonly folder = mkdtempSync(join(tmpdir(), "iam-ha-redis-"));
  readonly nodes: TestNode[] = [];
  readonly settings;
  port = 0;
  readonly #addressBase: number;
  #root = "";

  /** @param overrides settings other than the defaults */
  constructor(overrides: object = {}) {
    this.settings = redisSettings.parse({ resources: { cpu: "10m", cpuLimit: "1", memory: "128Mi" }, ...overrides });
    // Other tests on the same machine have nodes of their own: far apart by the process id.
    this.#addressBase = process.pid % 200;
  }

  get tls() {
    const read = (file: string) => readFileSync(join(this.folder, "tls", file));
    return { ca: read("ca.crt"), cert: read("tls.crt"), key: read("tls.key") };
  }

  /** Makes certificates, secrets and `count` nodes, and starts them. */
  async start(count: number): Promise<void> {
    this.#root = await imageRoot("redis");
    for (const part of ["authority", "tls", "secrets"]) mkdirSync(join(this.folder, part));
    await makeAuthority(join(this.folder, "authority"));
    await this.renewCertificate();
    for (const user of REDIS_USERS) this.setPassword(user, PASSWORDS[user]);
    this.port = await portWithBus();
    for (let i = 0; i < count; i++) {
      const name = `redis-test-${i}.redis.test`;
      const node = { name, folder: join(this.folder, `node-${i}`), address: this.address(i), process: undefined };
      this.nodes.push(node);
      for (const part of ["config", "scripts", "run", "data"]) mkdirSync(join(node.folder, part), { recursive: true });
      for (const file of readdirSync(SCRIPTS)) copyFileSync(join(SCRIPTS, file), join(node.folder, "scripts", file));
      this.startNode(node);
    }
    await Promise.all(this.nodes.map((node) => this.answers(node)));
  }

  /** A new certificate of the same authority in the mounted folder. */
  async renewCertificate(): Promise<void> {
    await issueCertificate(join(this.folder, "authority"), join(this.folder, "tls"), ["localhost", "*.redis.test"]);
    this.#own(join(this.folder, "tls"));
  }

  setPassword(user: RedisUser, password: string): void {
    writeFileSync(join(this.folder, "secrets", user), password, { mode: 0o440 });
    this.#own(join(this.folder, "secrets"));
  }

  /** A loopback address: `series` tells the addresses of one pod's lives apart. */
  address(i: number, series = 1): string {
    return `127.${this.#addressBase}.${series}.${i + 1}`;
  }

  startNode(node: TestNode): void {
    const config = join(node.folder, "config");
    writeFileSync(join(config, "users.acl"), usersAcl(this.settings));
    // All nodes share this machine: each listens at its own address, and its scripts find it there.
    const conf = redisConf(this.settings, this.port).replace(/^bind .*$/m, `bind ${node.address}`);
    writeFileSync(join(config, "redis.conf"), conf);
    this.#own(node.folder);
    const child = this.#spawn(node, "start.sh");
    const log: string[] = [];
    const keep = (chunk: Buffer) => log.push(chunk.toString());
    child.stdout?.on("data", keep);
    child.stderr?.on("data", keep);
    logs.set(child, log);
    node.process = child;
  }

  log(node: TestNode): string {
    return (node.process && logs.get(node.process)?.join("")) ?? "";
  }

  /** Runs one of the component's scripts beside the server, as the pod does. */
  script(node: TestNode, name: string): Promise<{ code: number | null; output: string }> {
    return endOf(this.#spawn(node, name), 30_000);
  }

  #spawn(node: TestNode, script: string): ChildProcess {
    const mounts = {
      [PATHS.config]: join(node.folder, "config"),
      [PATHS.scripts]: join(node.folder, "scripts"),
      [PATHS.run]: join(node.folder, "run"),
      [PATHS.data]: join(node.folder, "data"),
      [PATHS.secrets]: join(this.folder, "secrets"),
      [PATHS.tls]: join(this.folder, "tls"),
    };
    const env = {
      ...scriptEnvironment(this.settings, this.port),
      POD_IP: node.address,
      ANNOUNCED_HOST: node.name,
      REDIS_HOST: node.address,
      RELOAD_SECONDS: "1",
    };
    return spawnInImage(this.#root, ["sh", `${PATHS.scripts}/${script}`], { mounts, env });
  }

  #own(folder: string): void {
    execFileSync("chown", ["-R", `${IMAGE_UID}:${IMAGE_UID}`, folder]);
  }

  /** Ends the node's server at once, as a killed pod does, or as told. */
  async kill(node: TestNode, signal: NodeJS.Signals = "SIGKILL"): Promise<void> {
    const child = node.process;
    node.process = undefined;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill(signal);
    await ended;
  }

  /** Starts the node's server again in the same pod: what it had in memory, it finds again. */
  async restartContainer(node: TestNode): Promise<void> {
    await this.kill(node);
    this.startNode(node);
    await this.answers(node);
  }

  /** Starts the node again as a new pod: at another address, with or without its data. */
  async restart(node: TestNode, address: string, { empty = false } = {}): Promise<void> {
    await this.kill(node);
    // The memory of a pod does not outlive it.
    for (const part of empty ? ["run", "data"] : ["run"]) {
      rmSync(join(node.folder, part), { recursive: true });
      mkdirSync(join(node.folder, part));
    }
    node.address = address;
    this.startNode(node);
  }

  /** A connection to one node. */
  client(node: TestNode, user: RedisUser, password = PASSWORDS[user]): Redis {
    const client = new Redis({
      host: node.address,
      port: this.port,
      username: user,
      password,
      tls: { ...this.tls, servername: "localhost" },
      lazyConnect: true,
      connectTimeout: 1000,
      commandTimeout: 2000,
      maxRetriesPerRequest: 0,
      retryStrategy: () => null,
      enableReadyCheck: false,
      disableClientInfo: true,
    });
    client.on("error", () => {});
    return client;
  }

  /** The reply of one command at one node. */
  async ask(node: TestNode, user: RedisUser, ...command: [string, ...string[]]): Promise<string> {
    const client = this.client(node, user);
    try {
      await client.connect();
      return String(await client.call(...command));
    } finally {
      client.disconnect();
    }
  }

  async answers(node: TestNode): Promise<void> {
    await eventually(`${node.name} answers`, 20_000, async () => {
      if (node.process?.exitCode !== null) throw new Error(`it ended: ${this.log(node)}`);
      return (await this.ask(node, "keeper", "PING")) === "PONG";
    });
  }

  /** Makes a cluster of the nodes: the first ones get the slots, the others follow them in turn. What the keeper does, at
   *  once and without it. */
  async form(masters: number): Promise<void> {
    const ids = await Promise.all(this.nodes.map((node) => this.ask(node, "keeper", "CLUSTER", "NODES")));
    const [first, ...others] = this.nodes;
    for (const node of others) {
      const bus = String(this.port + 10_000);
      await this.ask(first!, "keeper", "CLUSTER", "MEET", node.address, String(this.port), bus);
    }
    for (let i = 0; i < masters; i++) {
      const [from, to] = [i, i + 1].map((part) => Math.floor((part * 16384) / masters));
      await this.ask(this.nodes[i]!, "keeper", "CLUSTER", "ADDSLOTSRANGE", String(from), String(to! - 1));
    }
    for (const [i, node] of this.nodes.slice(masters).entries()) {
      const id = ids[i % masters]!.split(" ")[0]!;
      await eventually(`${node.name} follows its master`, 20_000, async () => {
        return (await this.ask(node, "keeper", "CLUSTER", "REPLICATE", id)) === "OK";
      });
    }
    for (const node of this.nodes) {
      await eventually(`${node.name} is in contact with all`, 30_000, async () => {
        const all = (await this.ask(node, "keeper", "CLUSTER", "NODES")).trim().split("\n");
        const info = await this.ask(node, "keeper", "CLUSTER", "INFO");
        const named = all.every((line) => line.includes(".redis.test") && line.includes(" connected"));
        return all.length === this.nodes.length && named && info.includes("cluster_state:ok");
      });
    }
  }

  /** Leads the nodes' names to their present addresses, as DNS does for pods. */
  readonly lookup: LookupFunction = (name, options, callback) => {
    const address = this.nodes.find((node) => node.name === name)?.address;
    if (!address) callback(new Error(`no node ${name}`), "");
    else if (options.all) callback(null, [{ address, family: 4 }]);
    else callback(null, address, 4);
  };

  async stop(): Promise<void> {
    await Promise.all(this.nodes.map((node) => this.kill(node)));
    rmSync(this.folder, { recursive: true, force: true });
  }
}

const logs = new WeakMap<ChildProcess, string[]>();

/** Tries until the check holds; the error of the last try says why it did not. Returns the time it took, in ms. */
export async function eventually(
  what: string,
  timeoutMs: number,
  check: () => Promise<boolean> | boolean,
  pauseMs = 100,
): Promise<number> {
  const start = performance.now();
  for (;;) {
    let reason = "";
    try {
      if (await check()) return performance.now() - start;
    } catch (error) {
      reason = `: ${error instanceof Error ? error.message : String(error)}`;
    }
    if (performance.now() - start > timeoutMs) throw new Error(`not within ${timeoutMs} ms: ${what}${reason}`);
    await sleep(pauseMs);
  }
}

/** A port whose bus port, 10000 above, is below those of outgoing connections too. */
async function portWithBus(): Promise<number> {
  for (;;) {
    const [port] = await freePorts(1);
    if (port! + 10_000 < 32_768) return port!;
  }
}

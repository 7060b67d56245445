import assert from "node:assert/strict";
import { execFile, spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { readFileSync, statSync, writeFileSync } from "node:fs";
import type { LookupFunction } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { checkServerIdentity, connect } from "node:tls";
import { promisify } from "node:util";
import { Cluster } from "ioredis";
import { parseClusterNodes, parseInfo, slotCount } from "../../sidecar/core/redis-nodes.ts";
import type { RedisKeeperConfig } from "../../sidecar/core/redis-keeper-config.ts";
import type { KeeperStatus } from "../../sidecar/redis-keeper/keeper.ts";
import { eventually, PASSWORDS, RedisServers, type TestNode } from "../support/redis-servers.ts";

const MAIN = new URL("../../sidecar/redis-keeper/main.ts", import.meta.url).pathname;

/** The keeper as a process of its own, as in its pod. */
class KeeperProcess {
  readonly #servers: RedisServers;
  #child: ChildProcess | undefined;
  log: Record<string, unknown>[] = [];
  #rest = "";
  #port = 0;

  constructor(servers: RedisServers) {
    this.#servers = servers;
  }

  start(statusPort: number): void {
    const { folder, nodes, port } = this.#servers;
    const config: RedisKeeperConfig = {
      region: "test",
      // Where a name would lead by DNS, its address stands here.
      nodes: nodes.map((node) => ({ name: node.name, host: node.address, port })),
      masters: 3,
      user: "keeper",
      passwordFile: join(folder, "secrets/keeper"),
      tls: {
        caFile: join(folder, "tls/ca.crt"),
        certFile: join(folder, "tls/tls.crt"),
        keyFile: join(folder, "tls/tls.key"),
        serverName: "localhost",
      },
      intervalMillis: 500,
      callTimeoutMillis: 1000,
      settleMillis: 1000,
      placement: { source: "none" },
      statusPort,
    };
    const file = join(folder, "keeper.json");
    writeFileSync(file, JSON.stringify(config));
    this.#port = statusPort;
    const child = spawn(process.execPath, [MAIN, file], { stdio: ["ignore", "pipe", "inherit"] });
    child.stdout.on("data", (chunk: Buffer) => {
      const lines = (this.#rest + chunk.toString()).split("\n");
      this.#rest = lines.pop()!;
      this.log.push(...lines.map((line) => JSON.parse(line) as Record<string, unknown>));
    });
    this.#child = child;
  }

  /** Ends it; without a word by default.
   *  @returns its exit code */
  async stop(signal: NodeJS.Signals = "SIGKILL"): Promise<number | null> {
    const child = this.#child;
    this.#child = undefined;
    if (!child || child.exitCode !== null) return child?.exitCode ?? null;
    const exit = once(child, "exit");
    child.kill(signal);
    return ((await exit) as [number | null])[0];
  }

  async status(): Promise<KeeperStatus> {
    const response = await fetch(`http://127.0.0.1:${this.#port}/status`, { signal: AbortSignal.timeout(2000) });
    return (await response.json()) as KeeperStatus;
  }

  async healthy(): Promise<boolean> {
    return (await fetch(`http://127.0.0.1:${this.#port}/healthz`, { signal: AbortSignal.timeout(2000) })).ok;
  }
}

describe("the Redis keeper with six real nodes", function () {
  this.timeout(90_000);
  const servers = new RedisServers();
  const keeper = new KeeperProcess(servers);
  let statusPort = 0;
  let app: Cluster;

  before(async function () {
    this.timeout(600_000); // the image may have to be built
    await servers.start(6);
    statusPort = servers.port + 1;
    app = new Cluster(
      servers.nodes.map((node) => ({ host: node.address, port: servers.port })),
      {
        dnsLookup: (name, callback) => callback(null, name),
        slotsRefreshInterval: 1000,
        slotsRefreshTimeout: 2000,
        clusterRetryStrategy: () => 200,
        lazyConnect: true,
        redisOptions: {
          username: "iam",
          password: PASSWORDS.iam,
          // Announced names lead to the nodes' present addresses, as DNS does for pods; certificates hold for the names.
          tls: {
            ...servers.tls,
            lookup: lookUp,
            checkServerIdentity: (name, certificate) =>
              name.endsWith(".redis.test") ? checkServerIdentity(name, certificate) : undefined,
          },
          socketTimeout: 2000,
          connectTimeout: 1000,
          maxRetriesPerRequest: 1,
        },
      },
    );
    app.on("error", () => {});
  });
  after(async () => {
    app?.disconnect();
    await keeper.stop();
    await servers.stop();
  });

  afterEach(async function () {
    if (this.currentTest?.state !== "failed") return;
    // What the keeper did, and what each node says: without them a failure here cannot be understood afterwards.
    for (const line of keeper.log.slice(-60)) process.stdout.write(`${JSON.stringify(line)}\n`);
    for (const node of servers.nodes) {
      const answer = await servers.ask(node, "keeper", "CLUSTER", "NODES").catch((error: unknown) => String(error));
      process.stdout.write(`${node.name}\n${answer}\n`);
    }
  });

  const lookUp: LookupFunction = (name, options, callback) => {
    const address = servers.nodes.find((node) => node.name === name)?.address;
    if (!address) callback(new Error(`no node ${name}`), "");
    else if (options.all) callback(null, [{ address, family: 4 }]);
    else callback(null, address, 4);
  };

  const viewOf = async (node: TestNode) => parseClusterNodes(await servers.ask(node, "keeper", "CLUSTER", "NODES"));
  const nodeOf = (hostname: string) => servers.nodes.find((node) => node.name === hostname)!;

  /** Whether all six agree on three masters with all slots and one replica each, in contact and in good state. */
  async function complete(): Promise<boolean> {
    const epochs = new Map<string, number>();
    for (const node of servers.nodes) {
      const { self } = await viewOf(node);
      epochs.set(self.id, self.configEpoch);
    }
    for (const node of servers.nodes) {
      const { self, peers } = await viewOf(node);
      const all = [self, ...peers];
      // A newer epoch than the master's own would cost its replica every vote.
      for (const peer of peers.filter(({ slots }) => slots.length > 0)) {
        assert.ok(peer.configEpoch <= epochs.get(peer.id)!, `${node.name} has a wrong epoch of ${peer.hostname}`);
      }
      const masters = all.filter((peer) => peer.slots.length > 0);
      assert.equal(all.length, 6, `${node.name} knows ${all.length} nodes`);
      assert.ok(
        all.every((peer) => !peer.failed && !peer.suspect && !peer.handshake && peer.connected),
        `${node.name} sees failures`,
      );
      assert.equal(masters.length, 3);
      assert.equal(
        masters.reduce((sum, peer) => sum + slotCount(peer.slots), 0),
        16384,
      );
      const followed = all.filter((peer) => peer.role === "replica").map((peer) => peer.masterId);
      assert.deepEqual([...followed].sort(), masters.map((peer) => peer.id).sort());
      const info = parseInfo(await servers.ask(node, "keeper", "INFO", "replication"));
      if (self.role === "replica") assert.equal(info.get("master_link_status"), "up");
      assert.match(await servers.ask(node, "keeper", "CLUSTER", "INFO"), /cluster_state:ok/);
    }
    return true;
  }

  const write = async (count: number, prefix: string) => {
    for (let i = 0; i < count; i++) assert.equal(await app.set(`${prefix}:${i}`, `value ${i}`), "OK");
  };
  const readAll = async (count: number, prefix: string) => {
    for (let i = 0; i < count; i++) assert.equal(await app.get(`${prefix}:${i}`), `value ${i}`, `${prefix}:${i}`);
    return true;
  };

  it("forms the cluster from nothing, killed again and again midway", async () => {
    let rounds = 0;
    const formed = eventually("the cluster is formed", 60_000, complete, 200);
    for (const pause of [150, 250, 350, 450, 600, 800]) {
      keeper.start(statusPort);
      // Time to start counts too: from the first line it logs.
      await eventually("it has started", 10_000, () => keeper.log.length > rounds, 10);
      await sleep(pause);
      await keeper.stop();
      rounds = keeper.log.length;
    }
    keeper.start(statusPort);
    await formed;
    const shares = await Promise.all(servers.nodes.map(async (node) => slotCount((await viewOf(node)).self.slots)));
    assert.deepEqual(shares.filter((count) => count > 0).sort(), [5461, 5461, 5462]);
  });

  it("satisfies redis-cli --cluster check", async () => {
    const { address } = servers.nodes[0]!;
    const tls = [
      "--tls",
      "--cacert",
      join(servers.folder, "tls/ca.crt"),
      "--cert",
      join(servers.folder, "tls/tls.crt"),
      "--key",
      join(servers.folder, "tls/tls.key"),
    ];
    const { stdout } = await promisify(execFile)(
      "redis-cli",
      ["--user", "keeper", ...tls, "--cluster", "check", `${address}:${servers.port}`],
      { env: { ...process.env, REDISCLI_AUTH: PASSWORDS.keeper }, timeout: 20_000 },
    );
    assert.match(stdout, /\[OK\] All nodes agree about slots configuration/);
    assert.match(stdout, /\[OK\] All 16384 slots covered/);
  });

  it("serves an application by announced names", async () => {
    await app.connect();
    await write(200, "formed");
    assert.ok(await readAll(200, "formed"));
  });

  it("is ready, alive, and does nothing more once all is well", async () => {
    await eventually("no problems", 10_000, async () => (await keeper.status()).problems.length === 0);
    const before = (await keeper.status()).actions;
    await sleep(3000);
    const status = await keeper.status();
    assert.deepEqual(status.actions, before);
    assert.equal(await keeper.healthy(), true);
    assert.equal(status.nodes.filter((node) => node.role === "master").length, 3);
    for (const node of servers.nodes) assert.deepEqual(await servers.script(node, "ready.sh"), { code: 0, output: "" });
  });

  it("sees a killed master's replica take over by itself, with all data", async () => {
    const masters = await Promise.all(servers.nodes.map(async (node) => ({ node, self: (await viewOf(node)).self })));
    const victim = masters.find(({ self }) => self.slots.length > 0)!.node;
    await servers.kill(victim);
    const took = await eventually(
      "all slots are served again",
      // Mostly 6.5 to 9.5 s with a node time-out of 5 s: Redis may ask the dead master for the first time half of that
      // after its death. How fast it is, is not for a test to say.
      45_000,
      async () => {
        const others = servers.nodes.filter((node) => node !== victim);
        const views = await Promise.all(others.map(viewOf));
        return views.reduce((sum, { self }) => sum + slotCount(self.slots), 0) === 16384;
      },
      50,
    );
    process.stdout.write(`      taken over after ${(took / 1000).toFixed(1)} s\n`);
    await eventually("the data is there", 10_000, () => readAll(200, "formed"));
    // Its pod comes back elsewhere, with its volume.
    await servers.restart(victim, servers.address(servers.nodes.indexOf(victim), 2));
    await keeper.stop();
    keeper.start(statusPort);
    await eventually("it is back as a replica", 30_000, complete, 200);
  });

  it("re-forms when every node restarts at a new address", async () => {
    await write(100, "before");
    await Promise.all(servers.nodes.map((node) => servers.kill(node, "SIGTERM")));
    // Each takes the address another one had: what they remember of each other is all wrong.
    const addresses = servers.nodes.map((_, i) => servers.address((i + 1) % 6, 1));
    await Promise.all(servers.nodes.map((node, i) => servers.restart(node, addresses[i]!)));
    await keeper.stop();
    keeper.start(statusPort);
    await eventually("all are in contact", 40_000, complete, 200);
    await eventually("the data is there", 10_000, () => readAll(100, "before"));
    assert.ok(await readAll(200, "formed"));
  });

  it("gives an empty node the place of the one it replaces, master or replica", async () => {
    for (const wanted of ["replica", "master"]) {
      const views = await Promise.all(servers.nodes.map(async (node) => ({ node, self: (await viewOf(node)).self })));
      const { node, self } = views.find((view) => view.self.role === wanted)!;
      await servers.restart(node, servers.address(servers.nodes.indexOf(node), 3), { empty: true });
      await keeper.stop();
      keeper.start(statusPort);
      await eventually(`the ${wanted} is replaced`, 40_000, complete, 200);
      const known = await Promise.all(servers.nodes.map(viewOf));
      assert.ok(
        known.every(({ peers }) => !peers.some((peer) => peer.id === self.id)),
        "the dead id is forgotten",
      );
      assert.equal((await viewOf(nodeOf(node.name))).self.role, "replica");
      await eventually("the data is there", 10_000, () => readAll(200, "formed"));
    }
  });

  it("hands a master's slots over before it stops, without a lost write", async () => {
    const views = await Promise.all(servers.nodes.map(async (node) => ({ node, self: (await viewOf(node)).self })));
    const { node } = views.find((view) => view.self.role === "master")!;
    let stopped = false;
    const written: string[] = [];
    const writer = (async () => {
      for (let i = 0; !stopped; i++) {
        const key = `handover:${i}`;
        const answer = await app.set(key, "kept").catch(() => sleep(20));
        if (answer === "OK") written.push(key);
      }
    })();
    const { output } = await servers.script(node, "stop.sh").finally(() => (stopped = true));
    await writer;
    assert.match(output, /the replica has taken over/, servers.log(node));
    assert.equal((await viewOf(node)).self.role, "replica");
    assert.ok(written.length > 0);
    for (const key of written) await eventually(`${key} is there`, 5000, async () => (await app.get(key)) === "kept");
  });

  it("reports a lost shard and leaves it alone", async () => {
    const views = await Promise.all(servers.nodes.map(async (node) => ({ node, self: (await viewOf(node)).self })));
    const master = views.find((view) => view.self.role === "master")!;
    const replica = views.find((view) => view.self.masterId === master.self.id)!;
    await Promise.all([servers.kill(master.node), servers.kill(replica.node)]);
    for (const { node } of [master, replica]) {
      await servers.restart(node, servers.address(servers.nodes.indexOf(node), 4), { empty: true });
    }
    await keeper.stop();
    keeper.start(statusPort);
    await eventually("it is reported", 30_000, async () =>
      (await keeper.status()).problems.some(({ kind }) => kind === "shard-lost"),
    );
    await sleep(3000);
    for (const { node } of [master, replica]) {
      const { self } = await viewOf(node);
      assert.deepEqual([self.role, self.slots], ["master", []]);
    }
    const lost = keeper.log.findLast((line) => line["kind"] === "shard-lost")!;
    assert.equal(lost["subject"], master.self.id);
  });

  it("gives the slots of a lost shard out anew once a person has given it up", async () => {
    const { subject } = (await keeper.status()).problems.find(({ kind }) => kind === "shard-lost")!;
    for (const node of servers.nodes) await servers.ask(node, "keeper", "CLUSTER", "FORGET", subject!).catch(() => {});
    await eventually("the cluster is whole again", 40_000, complete, 200);
    await eventually("it is writable", 10_000, async () => (await write(50, "after"), true));
  });

  it("takes renewed certificates and passwords while it runs, the former password included", async () => {
    const [node] = servers.nodes;
    const fingerprint = () =>
      new Promise<string>((resolve, reject) => {
        const socket = connect(
          { host: node!.address, port: servers.port, ...servers.tls, servername: "localhost" },
          () => {
            resolve(socket.getPeerCertificate().fingerprint256);
            socket.destroy();
          },
        );
        socket.on("error", reject);
      });
    const before = await fingerprint();
    await servers.renewCertificate();
    servers.setPassword("iam", "another-password-of-the-application");
    servers.setPassword("node", "another-password-of-the-nodes");
    await eventually("a new certificate", 30_000, async () => (await fingerprint()) !== before);
    for (const password of [PASSWORDS.iam, "another-password-of-the-application"]) {
      const client = servers.client(node!, "iam", password);
      await client.connect();
      assert.equal(await client.ping(), "PONG");
      client.disconnect();
    }
    await eventually("the node's scripts have the new password", 30_000, () =>
      readFileSync(join(node!.folder, "run/own/node"), "utf8").startsWith("another-password"),
    );
    // Its own scripts have the new password, and replication goes on with it.
    for (const each of servers.nodes) {
      await eventually(
        `${each.name} is ready`,
        30_000,
        async () => (await servers.script(each, "ready.sh")).code === 0,
        500,
      );
      assert.equal((await servers.script(each, "alive.sh")).code, 0);
    }
    for (const file of ["users.acl", "redis.conf", "own/node", "own/tls.key"])
      assert.equal(statSync(join(node!.folder, "run", file)).mode & 0o777, 0o600);
  });

  it("starts again in the same pod, after passwords have changed too", async () => {
    const [node] = servers.nodes;
    for (const round of [1, 2]) {
      await servers.restartContainer(node!);
      await eventually(
        `it is ready, round ${round}`,
        30_000,
        async () => (await servers.script(node!, "ready.sh")).code === 0,
        500,
      );
    }
    await eventually("the cluster is whole", 40_000, complete, 200);
  });

  it("ends when told to", async () => {
    assert.equal(await keeper.stop("SIGTERM"), 0);
    assert.equal(keeper.log.at(-1)?.["event"], "stopped");
  });
});

describe("the Redis keeper with masters alone", function () {
  this.timeout(90_000);
  const servers = new RedisServers({ replicasPerMaster: 0 });
  const keeper = new KeeperProcess(servers);

  before(async function () {
    this.timeout(600_000);
    await servers.start(3);
    keeper.start(servers.port + 1);
  });
  after(async () => {
    await keeper.stop();
    await servers.stop();
  });

  /** Whether all three agree on three masters in good state, are ready, and the keeper has nothing to say. */
  async function whole(): Promise<boolean> {
    for (const node of servers.nodes) {
      const { self, peers } = parseClusterNodes(await servers.ask(node, "keeper", "CLUSTER", "NODES"));
      assert.equal(peers.length, 2);
      assert.equal(
        [self, ...peers].reduce((sum, peer) => sum + slotCount(peer.slots), 0),
        16384,
      );
      assert.match(await servers.ask(node, "keeper", "CLUSTER", "INFO"), /cluster_state:ok/);
      assert.deepEqual(await servers.script(node, "ready.sh"), { code: 0, output: "" });
    }
    return (await keeper.status()).problems.length === 0;
  }

  it("forms the cluster, and keeps it whole when a pod comes back at another address", async () => {
    await eventually("the cluster is formed", 60_000, whole, 300);
    const [node] = servers.nodes;
    const slots = async () => parseClusterNodes(await servers.ask(node!, "keeper", "CLUSTER", "NODES")).self.slots;
    const before = await slots();
    await servers.restart(node!, servers.address(0, 2));
    await servers.answers(node!);
    await keeper.stop(); // it is told addresses here, where a pod's name would lead to the new one
    keeper.start(servers.port + 1);
    await eventually("the cluster is whole", 60_000, whole, 300);
    assert.deepEqual(await slots(), before);
  });

  it("lets a master stop at once: there is nobody to hand over to", async () => {
    const begun = Date.now();
    assert.equal((await servers.script(servers.nodes[1]!, "stop.sh")).code, 0);
    assert.ok(Date.now() - begun < 3000);
  });
});

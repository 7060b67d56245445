import assert from "node:assert/strict";
import { parseClusterNodes, parseInfo, slotCount, type Peer } from "../../sidecar/core/redis-nodes.ts";
import type { KeeperStatus } from "../../sidecar/redis-keeper/keeper.ts";
import { execInPod, kubectl, kubectlJson, waitFor } from "./region.ts";

interface Pod {
  metadata: { name: string; uid: string };
  status: { phase: string; podIP?: string; conditions?: { type: string; status: string }[] };
}

const SELECTOR = "app.kubernetes.io/name=redis";
const cli = (pod: string, ...command: string[]) =>
  execInPod(pod, "redis", ["/bin/sh", "/etc/redis-scripts/cli.sh", ...command]);

/** redis-cli as another ACL user; commands come by stdin. */
function cliAs(pod: string, user: string, commands: string, ...options: string[]): Promise<string> {
  const argv = ["env", "CLI_TIMEOUT=30", "/bin/sh", "/etc/redis-scripts/as.sh", user, ...options];
  return execInPod(pod, "redis", argv, { stdin: commands, timeoutMs: 60_000 });
}

async function pods(): Promise<Pod[]> {
  const { items } = await kubectlJson<{ items: Pod[] }>(["get", "pods", "-l", SELECTOR]);
  return items.sort((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1));
}

const isReady = (pod: Pod) => pod.status.conditions?.some(({ type, status }) => type === "Ready" && status === "True");

/** All six ready, with other uids than those of `before`. */
function allReady(before: readonly Pod[] = []): Promise<Pod[]> {
  const old = new Set(before.map((pod) => pod.metadata.uid));
  return waitFor(
    "six Redis pods are ready",
    async () => {
      const now = await pods();
      return now.length === 6 && now.every((pod) => isReady(pod) && !old.has(pod.metadata.uid)) ? now : undefined;
    },
    180_000,
    1000,
  );
}

/** Every node's view of itself, once all of them know the same six and hold all slots in three of them. */
function formed(): Promise<Map<string, Peer>> {
  return waitFor(
    "the nodes agree on one cluster",
    async () => {
      const views = new Map<string, Peer>();
      for (const { metadata } of await pods()) {
        const { self, peers } = parseClusterNodes(await cli(metadata.name, "CLUSTER", "NODES"));
        assert.equal(peers.length, 5, `${metadata.name} knows ${peers.length} others`);
        assert.ok(
          peers.every((peer) => peer.connected && !peer.failed),
          `${metadata.name} sees failures`,
        );
        views.set(metadata.name, self);
      }
      const masters = [...views.values()].filter((self) => self.slots.length > 0);
      assert.equal(
        masters.reduce((sum, self) => sum + slotCount(self.slots), 0),
        16384,
      );
      const followed = [...views.values()].flatMap((self) => self.masterId ?? []);
      assert.deepEqual(followed.sort(), masters.map((self) => self.id).sort());
      return views;
    },
    120_000,
    1000,
  );
}

const KEYS = Array.from({ length: 60 }, (_, i) => `live-test:${i}`);
const write = async (pod: string, value: string) => {
  const answer = await cliAs(pod, "iam", KEYS.map((key) => `SET ${key} ${value} EX 600\n`).join(""), "-c");
  assert.equal(answer.split("\n").filter((line) => line === "OK").length, KEYS.length, answer);
};
const read = async (pod: string, value: string) => {
  const answer = await cliAs(pod, "iam", KEYS.map((key) => `GET ${key}\n`).join(""), "-c");
  assert.equal(answer.split("\n").filter((line) => line === value).length, KEYS.length, answer);
};

describe("Redis of a running region", function () {
  this.timeout(400_000);
  const FIRST = "redis-beijing-0";

  before(async () => {
    await allReady();
  });

  it("has three masters with all 16384 slots, each with one replica in contact", async () => {
    const views = await formed();
    assert.equal(views.size, 6);
    for (const [pod, self] of views) {
      const info = parseInfo(await cli(pod, "INFO", "replication"));
      if (self.role === "replica") assert.equal(info.get("master_link_status"), "up", pod);
      else assert.equal(info.get("connected_slaves"), "1", pod);
    }
  });

  it("satisfies redis-cli --cluster check", async () => {
    const answer = await cliAs(FIRST, "keeper", "", "--cluster", "check", "localhost:6379");
    assert.match(answer, /\[OK\] All nodes agree about slots configuration/);
    assert.match(answer, /\[OK\] All 16384 slots covered/);
  });

  it("announces every node by its pod's name", async () => {
    for (const [pod, self] of await formed())
      assert.match(self.hostname, new RegExp(`^${pod}\\.redis-nodes\\.iam\\.svc\\.`));
  });

  it("answers nobody without TLS or without a user, and gives the application no administration", async () => {
    await assert.rejects(execInPod(FIRST, "redis", ["timeout", "3", "redis-cli", "-h", "127.0.0.1", "PING"]));
    const anonymous = await execInPod(FIRST, "redis", [
      "timeout",
      "3",
      "redis-cli",
      "--tls",
      "--cacert",
      "/etc/redis-tls/ca.crt",
      "PING",
    ]);
    assert.match(anonymous, /NOAUTH/);
    const refused = await cliAs(FIRST, "iam", "FLUSHALL\nKEYS *\nCONFIG GET *\nSHUTDOWN\nCLUSTER RESET\n");
    assert.equal(refused.split("\n").filter((line) => line.startsWith("NOPERM")).length, 5, refused);
  });

  it("brings a deleted master's pod back as a replica, with its data served all along", async () => {
    await write(FIRST, "one");
    const views = await formed();
    const [victim] = [...views].find(([, self]) => self.role === "master")!;
    const before = (await pods()).filter(({ metadata }) => metadata.name === victim);
    await kubectl(["delete", "pod", victim, "--wait=true"], { timeoutMs: 120_000 });
    await waitFor(
      `${victim} is back`,
      async () => {
        const [pod] = (await pods()).filter(({ metadata }) => metadata.name === victim);
        return pod && pod.metadata.uid !== before[0]!.metadata.uid && isReady(pod) ? pod : undefined;
      },
      180_000,
      1000,
    );
    const after = await formed();
    assert.equal(after.get(victim)!.id, views.get(victim)!.id, "with its volume it is the same node");
    assert.equal(after.get(victim)!.role, "replica", "it had handed its slots over");
    await read(victim, "one");
  });

  it("re-forms with its data after all pods were killed at once", async () => {
    await write(FIRST, "two");
    const before = await pods();
    await kubectl(["delete", "pods", "-l", SELECTOR, "--grace-period=0", "--force", "--wait=false"], {
      timeoutMs: 60_000,
    });
    await allReady(before);
    await formed();
    await read(FIRST, "two");
  });

  it("has a keeper that sees nothing wrong", async () => {
    const { items } = await kubectlJson<{ items: Pod[] }>(["get", "pods", "-l", "app.kubernetes.io/name=redis-keeper"]);
    const ask = "fetch('http://127.0.0.1:8080/status').then((r) => r.text()).then(console.log)";
    await waitFor("the keeper sees no problem", async () => {
      const status = JSON.parse(
        await execInPod(items[0]!.metadata.name, "redis-keeper", ["node", "-e", ask]),
      ) as KeeperStatus;
      assert.deepEqual(status.problems, []);
      assert.equal(
        status.nodes.reduce((sum, node) => sum + node.slots, 0),
        16384,
      );
      return status;
    });
  });
});

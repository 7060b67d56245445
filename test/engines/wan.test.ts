import assert from "node:assert/strict";
import { execFile, spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { readdir, readFile, rmdir } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { daemonProcesses, readCgroupLayout } from "../../scripts/local/effects/cgroup.ts";
import { exists } from "../../scripts/local/effects/files.ts";
import { buildGo } from "../../scripts/local/effects/gobuild.ts";
import { ensureNetwork, removeNetwork } from "../../scripts/local/effects/network.ts";
import { SYSTEM_PATH } from "../../scripts/local/effects/packages.ts";
import { askWan, killWan, type WanStart } from "../../scripts/local/effects/wan.ts";
import type { CgroupLayout } from "../../scripts/local/plan/cgroups.ts";
import { planInstance } from "../../scripts/local/plan/instance.ts";
import { planRegion, regionNames, type RegionName } from "../../scripts/local/plan/regions.ts";
import { directions, directionsOf, planWan } from "../../scripts/local/plan/wan.ts";

const instance = planInstance(process.env, "test-wan");
const wan = planWan(instance);
const plan = (region: RegionName) => planRegion(instance, region);
const PEER = join(import.meta.dirname, "../support/wan-peer.ts");
const DELAY = 15_000;
const links = directions.map((d) => ({ ...d, delayMicros: DELAY, jitterMicros: 1_000, loss: 0 }));

const inRegion = (region: RegionName) => [`--net=${plan(region).netnsPath}`, process.execPath, PEER];

async function measure<T>(from: RegionName, what: string, to: string, ...numbers: number[]): Promise<T> {
  const address = to in regionAddresses ? regionAddresses[to as RegionName] : to;
  const argv = [...inRegion(from), what, address, ...numbers.map(String)];
  return JSON.parse((await promisify(execFile)("nsenter", argv, { timeout: 30_000 })).stdout) as T;
}
const regionAddresses = Object.fromEntries(regionNames.map((r) => [r, plan(r).node])) as Record<RegionName, string>;

interface Pings {
  readonly rtts: number[];
  readonly lost: number;
}
const print = (line: string) => process.stdout.write(`      ${line}\n`);
const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
const quantile = (values: readonly number[], q: number) =>
  [...values].sort((a, b) => a - b)[Math.floor(q * (values.length - 1))]!;

/** Whether packets from one region reach the other and come back. */
async function reaches(from: RegionName, to: RegionName): Promise<boolean> {
  return (await measure<Pings>(from, "ping", to, 5, 5)).rtts.length === 5;
}

async function waitUntil(what: string, ask: () => Promise<boolean>): Promise<void> {
  const end = Date.now() + 10_000;
  while (!(await ask().catch(() => false))) {
    if (Date.now() > end) assert.fail(`waited 10 s for ${what}`);
    await sleep(50);
  }
}

/** The network between regions, in bare network namespaces; each test leaves it as it was. */
describe("the network between regions", function () {
  let layout: CgroupLayout;
  let start: WanStart;
  const servers = new Map<RegionName, ChildProcess>();

  async function join3(region: RegionName): Promise<void> {
    await ensureNetwork(plan(region), start);
    await serve(region);
  }

  async function serve(region: RegionName): Promise<void> {
    const child = spawn("nsenter", [...inRegion(region), "serve", plan(region).node], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    servers.set(region, child);
    await once(child.stdout, "data");
  }

  async function leave(region: RegionName): Promise<void> {
    const server = servers.get(region);
    servers.delete(region);
    if (server?.exitCode === null) {
      const gone = once(server, "exit");
      server.kill("SIGKILL");
      await gone;
    }
    await removeNetwork(plan(region), layout);
  }

  before(async function () {
    this.timeout(300_000); // the first build
    if (process.getuid?.() !== 0) this.skip();
    layout = await readCgroupLayout();
    const source = join(import.meta.dirname, "../../scripts/local/hostkit");
    const build = await buildGo({ name: "hostkit", source }, { cache: instance.cache });
    start = { layout, links, programs: { hostkit: join(build, "hostkit"), path: SYSTEM_PATH } };
    for (const region of regionNames) await removeNetwork(plan(region), layout); // of a run that was killed
    for (const region of regionNames) await join3(region);
  });

  after(async function () {
    if (start === undefined) return;
    for (const region of regionNames) await leave(region);
    await rmdir(instance.run).catch(() => {});
  });

  it("holds packets back for the delay of both ways, give or take the jitter", async () => {
    const { rtts, lost } = await measure<Pings>("beijing", "ping", "shanghai", 300, 12);
    const [low, middle, high] = [0, 0.5, 0.95].map((q) => quantile(rtts, q)) as [number, number, number];
    print(
      `round trip at 15 ms ± 1 each way: mean ${mean(rtts).toFixed(2)} ms, least ${low.toFixed(2)}, median ${middle.toFixed(2)}, 95th percentile ${high.toFixed(2)}`,
    );
    assert.equal(lost, 0);
    // A busy machine adds to some round trips, never to all, and takes from none.
    assert.ok(low >= 28 && low < 32 && middle >= 29.5, `${low} ${middle}`);
    assert.ok(high - low > 1, "jitter is seen");
  });

  it("has settings for each direction", async () => {
    await askWan(wan, {
      op: "set",
      links: [{ from: "shanghai", to: "beijing" }],
      delayMicros: 60_000,
      jitterMicros: 0,
    });
    const low = quantile((await measure<Pings>("beijing", "ping", "shanghai", 60, 5)).rtts, 0);
    assert.ok(low >= 74 && low < 79, `${low}`);
    await askWan(wan, { op: "reset" });
  });

  it("loses the share that it is told to lose", async () => {
    await askWan(wan, { op: "set", links: [{ from: "beijing", to: "shenzhen" }], loss: 0.1 });
    const { lost } = await measure<Pings>("beijing", "ping", "shenzhen", 2000, 1);
    print(`${lost} of 2000 packets lost at 10 %`);
    assert.ok(lost > 120 && lost < 290, `${lost}`); // six standard deviations
    await askWan(wan, { op: "reset" });
  });

  it("keeps the order of a flow", async () => {
    const { echoed } = await measure<{ echoed: number[] }>("shanghai", "burst", "shenzhen", 3000);
    assert.ok(echoed.length > 2900, `${echoed.length} came back`); // sockets' buffers are bounded too
    assert.deepEqual(
      echoed,
      [...echoed].sort((a, b) => a - b),
    );
  });

  it("leads to a region's services and pods", async () => {
    const run = (...argv: string[]) => promisify(execFile)("ip", ["-n", plan("shanghai").netns, ...argv]);
    await run("addr", "add", "10.12.0.9/32", "dev", "lo");
    const child = spawn("nsenter", [...inRegion("shanghai"), "serve", "10.12.0.9"], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    try {
      await once(child.stdout, "data");
      assert.equal((await measure<Pings>("beijing", "ping", "10.12.0.9", 5, 5)).lost, 0);
    } finally {
      child.kill("SIGKILL");
      await run("addr", "del", "10.12.0.9/32", "dev", "lo");
    }
  });

  it("cuts one way or both, and mends", async () => {
    await askWan(wan, { op: "cut", links: directionsOf("beijing", "shanghai") });
    assert.equal(await reaches("beijing", "shanghai"), false);
    const cut = (await askWan(wan, { op: "show" })).links;
    const of = (from: RegionName, to: RegionName) => cut.find((l) => l.from === from && l.to === to)!;
    assert.equal(of("beijing", "shanghai").dropped.cut, 5);
    // The question arrives, its answer is what is cut.
    const before = of("shanghai", "beijing").packets;
    assert.equal(await reaches("shanghai", "beijing"), false);
    const now = (await askWan(wan, { op: "show" })).links.find((l) => l.from === "shanghai" && l.to === "beijing")!;
    assert.equal(now.packets - before, 5);
    assert.ok(await reaches("beijing", "shenzhen"));
    await askWan(wan, { op: "cut", links: directionsOf("shenzhen") });
    assert.equal(await reaches("beijing", "shenzhen"), false);
    await askWan(wan, { op: "mend", links: directionsOf("shenzhen") });
    assert.ok(await reaches("beijing", "shenzhen"));
    assert.equal(await reaches("beijing", "shanghai"), false, "another region's cut stays");
    await askWan(wan, { op: "mend", links: directions });
    assert.ok(await reaches("beijing", "shanghai"));
  });

  it("carries a stream", async () => {
    const { bytes, seconds } = await measure<{ bytes: number; seconds: number }>("beijing", "stream", "shanghai", 3);
    print(`one TCP flow: ${(bytes / 1e6 / seconds).toFixed(1)} MB/s at a round trip of 30 ms`);
    assert.ok(bytes > 1e6);
  });

  it("costs next to nothing while nobody sends", async () => {
    const ticks = async () => {
      const fields = await Promise.all(
        (await daemonProcesses(layout, wan.cgroup)).map(async ({ pid }) =>
          (await readFile(`/proc/${pid}/stat`, "utf8")).replace(/^.*\) /, "").split(" "),
        ),
      );
      return fields.reduce((sum, f) => sum + Number(f[11]) + Number(f[12]), 0);
    };
    const before = await ticks();
    await sleep(4_000);
    const share = (await ticks()) - before; // hundredths of a second in 4 s
    print(`idle: ${(share / 4).toFixed(2)} % of one core`);
    assert.ok(share <= 8, `${share} ticks in 4 s`);
  });

  it("comes back by itself when it was killed, with its cuts", async () => {
    await askWan(wan, { op: "cut", links: directionsOf("beijing", "shanghai") });
    assert.ok(await killWan(wan, layout, "worker"));
    await waitUntil("the emulator", async () => (await askWan(wan, { op: "show" })).regions.every((r) => r.attached));
    assert.equal(await reaches("beijing", "shanghai"), false);
    assert.ok(await reaches("beijing", "shenzhen"));
    await askWan(wan, { op: "reset" });
  });

  it("is started again where all of it was killed", async () => {
    assert.ok(await killWan(wan, layout, "all"));
    await waitUntil("its end", async () => (await daemonProcesses(layout, wan.cgroup)).length === 0);
    await assert.rejects(askWan(wan, { op: "show" }), /ECONNREFUSED/);
    await ensureNetwork(plan("beijing"), start);
    for (const region of ["shanghai", "shenzhen"] as const) assert.ok(await reaches("beijing", region), region);
  });

  it("lets regions come and go while others stay", async () => {
    await leave("shanghai");
    assert.equal(await exists(plan("shanghai").netnsPath), false);
    const { regions } = await askWan(wan, { op: "show" });
    assert.deepEqual(
      regions.filter((r) => r.attached).map((r) => r.name),
      ["beijing", "shenzhen"],
    );
    assert.ok(await reaches("beijing", "shenzhen"));
    await join3("shanghai");
    assert.ok(await reaches("beijing", "shanghai"));
  });

  it("is not started twice, and again with other settings", async () => {
    const pids = async () => (await daemonProcesses(layout, wan.cgroup)).map((p) => p.pid);
    const before = await pids();
    assert.equal(before.length, 2);
    await ensureNetwork(plan("beijing"), start);
    assert.deepEqual(await pids(), before);
    const faster = { ...start, links: links.map((l) => ({ ...l, delayMicros: 5_000 })) };
    await ensureNetwork(plan("beijing"), faster);
    assert.ok(quantile((await measure<Pings>("beijing", "ping", "shanghai", 60, 5)).rtts, 0) < 15);
    await ensureNetwork(plan("beijing"), start);
  });

  it("leaves nothing when the last region goes", async () => {
    for (const region of regionNames) await leave(region);
    assert.deepEqual(await daemonProcesses(layout, wan.cgroup), []);
    assert.equal(await exists(wan.run), false);
    assert.deepEqual(
      (await readdir("/run/netns").catch(() => [])).filter((name) => name.startsWith("iam-ha-test-wan-")),
      [],
    );
    await assert.rejects(askWan(wan, { op: "show" }), /No region of instance test-wan runs/);
  });
});

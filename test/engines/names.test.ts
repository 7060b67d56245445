import assert from "node:assert/strict";
import { execFile, spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, rmdir, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { readCgroupLayout } from "../../scripts/local/effects/cgroup.ts";
import { buildGo } from "../../scripts/local/effects/gobuild.ts";
import { ensureNetwork, insideNetwork, removeNetwork } from "../../scripts/local/effects/network.ts";
import { SYSTEM_PATH } from "../../scripts/local/effects/packages.ts";
import { askWan } from "../../scripts/local/effects/wan.ts";
import type { CgroupLayout } from "../../scripts/local/plan/cgroups.ts";
import { corefile } from "../../scripts/local/plan/configs.ts";
import { planInstance } from "../../scripts/local/plan/instance.ts";
import { planRegion, regionNames, type RegionName } from "../../scripts/local/plan/regions.ts";
import { directions, directionsOf, planWan } from "../../scripts/local/plan/wan.ts";

const instance = planInstance(process.env, "test-names");
const plan = (region: RegionName) => planRegion(instance, region);

/** Addresses of a region's Services, all different. */
const SERVICES = ["edge", "postgresql", "redis", "witness", "region-controller"];
const address = (region: RegionName, service: string) =>
  plan(region).serviceCidr.replace(/\.0\.0\/16$/, `.7.${SERVICES.indexOf(service) + 1}`);

/** The region's Corefile, with a table in place of the one thing that needs a Kubernetes API server. */
function withoutKubernetes(region: RegionName): string {
  const domain = `svc.cluster.${region}`;
  const table = SERVICES.map((name) => `        ${address(region, name)} ${name}.iam.${domain}\n`).join("");
  const text = corefile(plan(region)).replace(
    /kubernetes cluster[^{]*\{[^}]*\}/,
    `hosts {\n        ${plan(region).apiService} kubernetes.default.${domain}\n${table}    ttl 5\n    }`,
  );
  assert.match(text, /hosts \{/);
  return text;
}

/** Port of a region's server for the platform's one name: its Service's address leads there. */
const GLOBAL_PORT = 5353;
/** It says that Shanghai is active. */
const globalServer = `api.iam.example.com:${GLOBAL_PORT} {\n    hosts {\n        ${address("shanghai", "edge")} api.iam.example.com\n        ttl 5\n    }\n}\n`;

/** The real CoreDNS with the regions' real Corefiles, in network namespaces joined as the regions are. */
describe("names across regions", function () {
  let layout: CgroupLayout;
  let coredns: string;
  let hostkit: string;
  let folder: string | undefined;
  const servers = new Map<string, ChildProcess>();

  async function serve(name: string, region: RegionName, text: string): Promise<void> {
    const file = join(folder!, `${name}.Corefile`);
    await writeFile(file, text);
    const child = spawn("nsenter", [`--net=${plan(region).netnsPath}`, coredns, "-conf", file], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    servers.set(name, child);
    let log = "";
    child.stderr.on("data", (chunk: Buffer) => (log += chunk.toString()));
    await new Promise<void>((resolve, reject) => {
      child.stdout.on("data", (chunk: Buffer) => {
        if (chunk.toString().includes("CoreDNS-")) resolve();
      });
      child.once("exit", () => reject(new Error(`CoreDNS refuses the Corefile of ${name}: ${log}`)));
    });
  }

  async function end(name: string): Promise<void> {
    const child = servers.get(name);
    servers.delete(name);
    if (child === undefined || child.exitCode !== null) return;
    const gone = once(child, "exit");
    child.kill("SIGKILL");
    await gone;
  }

  /** As a pod of the region would ask. */
  const lookup = async (region: RegionName, name: string) =>
    (await insideNetwork(plan(region), hostkit, ["lookup", `${plan(region).dnsService}:53`, name])).trim();

  before(async function () {
    this.timeout(15 * 60_000); // the first build
    if (process.getuid?.() !== 0) this.skip();
    layout = await readCgroupLayout();
    const sources = join(import.meta.dirname, "../../scripts/local");
    const build = async (name: string) =>
      join(await buildGo({ name, source: join(sources, name) }, { cache: instance.cache }), name);
    hostkit = await build("hostkit");
    coredns = await build("coredns");
    folder = await mkdtemp(join(tmpdir(), "iam-ha-names-"));
    const links = directions.map((d) => ({ ...d, delayMicros: 15_000, jitterMicros: 1_000, loss: 0 }));
    for (const region of regionNames) await removeNetwork(plan(region), layout); // of a run that was killed
    for (const region of regionNames) {
      await ensureNetwork(plan(region), { layout, links, programs: { hostkit, path: SYSTEM_PATH } });
      const { netns, dnsService, globalDns, node } = plan(region);
      await promisify(execFile)("ip", ["-n", netns, "addr", "add", `${dnsService}/32`, "dev", "lo"]);
      // As kube-proxy would.
      const rule = ["-d", globalDns, "-p", "udp", "--dport", "53", "-j", "DNAT", "--to", `${node}:${GLOBAL_PORT}`];
      for (const chain of ["PREROUTING", "OUTPUT"])
        await insideNetwork(plan(region), "iptables", ["-t", "nat", "-A", chain, ...rule]);
      await serve(`${region}-global`, region, globalServer);
      await serve(region, region, withoutKubernetes(region));
    }
  });

  after(async () => {
    if (folder === undefined) return;
    for (const name of [...servers.keys()]) await end(name);
    for (const region of regionNames) await removeNetwork(plan(region), layout);
    await rm(folder, { recursive: true, force: true });
    await rmdir(instance.run).catch(() => {});
  });

  it("lead from every region to the Services of every region", async () => {
    const endpoints = { api: "edge", postgresql: "postgresql", redis: "redis", witness: "witness" };
    for (const from of regionNames) {
      for (const to of regionNames) {
        for (const [endpoint, service] of Object.entries({ ...endpoints, region: "region-controller" }))
          assert.equal(await lookup(from, `${endpoint}-${to}.iam.example.com`), address(to, service));
        assert.equal(await lookup(from, `redis.iam.svc.cluster.${to}`), address(to, "redis"));
      }
    }
  });

  it("answer under the name that was asked for", async () => {
    // A resolver that checks gives no address for an answer to another question.
    const script = `const { Resolver } = require("node:dns").promises; const r = new Resolver(); r.setServers(["${plan("beijing").dnsService}"]); r.resolve4("postgresql-shenzhen.iam.example.com", { ttl: true }).then((a) => console.log(JSON.stringify(a)))`;
    const answer = await insideNetwork(plan("beijing"), process.execPath, ["-e", script]);
    const [record] = JSON.parse(answer) as { address: string; ttl: number }[];
    assert.equal(record?.address, address("shenzhen", "postgresql"));
    assert.ok(record.ttl > 0 && record.ttl <= 5);
  });

  it("do not exist beyond these", async () => {
    for (const name of ["db-beijing.iam.example.com", "api-tokyo.iam.example.com", "iam.example.com", "example.org"])
      await assert.rejects(lookup("beijing", name), /no such host/, name);
  });

  it("follow the active region, by another region's server where the own one is away", async () => {
    for (const region of regionNames)
      assert.equal(await lookup(region, "api.iam.example.com"), address("shanghai", "edge"));
    await end("beijing-global");
    await sleep(1_100); // the cached answer
    assert.equal(await lookup("beijing", "api.iam.example.com"), address("shanghai", "edge"));
    await askWan(planWan(instance), { op: "cut", links: directionsOf("shanghai") });
    await sleep(1_100);
    assert.equal(await lookup("beijing", "api.iam.example.com"), address("shanghai", "edge"), "Shenzhen's answers");
    await askWan(planWan(instance), { op: "reset" });
    await serve("beijing-global", "beijing", globalServer);
  });

  it("fail fast for a region that is cut off, and only for that one", async () => {
    await askWan(planWan(instance), { op: "cut", links: directionsOf("shenzhen") });
    // Some lookups while nobody knows yet.
    for (let i = 0; i < 8; i++) {
      await lookup("beijing", "redis-shenzhen.iam.example.com").catch(() => {});
      await sleep(500);
    }
    const begun = Date.now();
    await assert.rejects(lookup("beijing", "redis-shenzhen.iam.example.com"));
    const took = Date.now() - begun;
    process.stdout.write(`      refused after ${took} ms\n`);
    assert.ok(took < 500, `${took} ms`);
    assert.equal(await lookup("beijing", "redis-shanghai.iam.example.com"), address("shanghai", "redis"));
    assert.equal(await lookup("shenzhen", "redis-shenzhen.iam.example.com"), address("shenzhen", "redis"));
    await askWan(planWan(instance), { op: "reset" });
    const until = Date.now() + 10_000;
    for (;;) {
      const found = await lookup("beijing", "redis-shenzhen.iam.example.com").catch(() => "");
      if (found === address("shenzhen", "redis")) break;
      assert.ok(Date.now() < until, "not resolved within 10 s of the mending");
      await sleep(200);
    }
  });
});

import assert from "node:assert/strict";
import { spawn, type ChildProcess } from "node:child_process";
import { mkdir, mkdtemp, readdir, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { corefile } from "../../components/global-dns/corefile.ts";
import { globalDnsSettings, type CorednsSettings } from "../../components/global-dns/settings.ts";
import { bundle } from "../../scripts/images/bundles.ts";
import type { DnsSidecarConfig } from "../../sidecar/core/dns-sidecar-config.ts";
import { buildGo } from "../../scripts/local/effects/gobuild.ts";
import { planInstance } from "../../scripts/local/plan/instance.ts";
import { issueCertificate, makeAuthority } from "../support/certificates.ts";
import { queryA, queryAaaa, type DnsAnswer } from "../support/dns-query.ts";
import { freePorts, TestDns } from "../support/sockets.ts";
import { TestEtcd } from "../support/test-etcd.ts";

const NAME = "api.iam.example.com";
const KEY = "/skydns/com/example/iam/api/active";
/** Where the regions' edges are; on this address there is a resolver that knows. */
const EDGES = { beijing: "10.111.0.80", shanghai: "10.112.0.80", shenzhen: "10.113.0.80" };
const RESOLVER = `127.53.${process.pid % 250}.1`;
const TTL = 2;
const ROOT = join(import.meta.dirname, "../..");
const PASSWORD = "dns-password-00000000001";

/** Real CoreDNS over three real members of etcd. */
describe("the platform's one name", function () {
  this.timeout(60_000);
  let folder: string;
  let program: string;
  let etcd: TestEtcd;
  let resolver: TestDns;
  let server: ChildProcess | undefined;
  let sidecar: ChildProcess | undefined;
  let config: DnsSidecarConfig;
  let ports: { dns: number; health: number; ready: number; metrics: number };
  let log = "";

  before(async function () {
    this.timeout(900_000);
    folder = await mkdtemp(join(tmpdir(), "iam-ha-global-dns-"));
    await makeAuthority(folder);
    for (const [part, names] of Object.entries({ witness: ["localhost"], dns: ["global-dns"] })) {
      await mkdir(join(folder, part));
      await issueCertificate(folder, join(folder, part), names);
    }
    for (const { path, contents } of await bundle(ROOT, [{ name: "dns-sidecar", entry: "sidecar/dns/main.ts" }]))
      await writeFile(join(folder, path), contents);
    const source = join(ROOT, "scripts/local/coredns");
    program = join(await buildGo({ name: "coredns", source }, { cache: planInstance(process.env).cache }), "coredns");
    resolver = await TestDns.start(RESOLVER, 60);
    for (const [region, address] of Object.entries(EDGES)) resolver.set(`api-${region}.iam.example.com`, address);
  });
  after(async () => {
    await resolver?.stop();
    await rm(folder, { recursive: true, force: true });
  });
  beforeEach(async () => {
    const data = await mkdtemp(join(folder, "etcd-"));
    etcd = await TestEtcd.make(data, join(folder, "witness"), 3);
  });
  afterEach(async () => {
    for (const child of [server, sidecar]) child?.kill("SIGKILL");
    server = sidecar = undefined;
    await etcd.stop();
  });

  /** CoreDNS and its sidecar, as their pod has them. */
  async function start(): Promise<void> {
    const [dns, health, ready, metrics, statusPort] = await freePorts(5);
    ports = { dns: dns!, health: health!, ready: ready!, metrics: metrics! };
    const source = await mkdtemp(join(folder, "source-"));
    const settings = globalDnsSettings.parse({ provider: "coredns", ttlSeconds: TTL }) as CorednsSettings;
    const text = corefile({
      settings,
      regions: Object.keys(EDGES),
      domain: "iam.example.com",
      resolver: RESOLVER,
      ports,
      source,
    });
    await writeFile(join(folder, "Corefile"), text);
    await writeFile(join(folder, "password"), PASSWORD, { mode: 0o440 });
    const tls = join(folder, "dns");
    config = {
      region: "beijing",
      witness: etcd.endpoints,
      user: "dns",
      passwordFile: join(folder, "password"),
      tls: { caFile: join(tls, "ca.crt"), certFile: join(tls, "tls.crt"), keyFile: join(tls, "tls.key") },
      folder: source,
      pollMillis: 300,
      callTimeoutMillis: 2000,
      coredns: { health: `http://127.0.0.1:${health}/health`, metrics: `http://127.0.0.1:${metrics}/metrics` },
      statusPort: statusPort!,
    };
    await writeFile(join(folder, "sidecar.json"), JSON.stringify(config));
    log = "";
    startServer();
    sidecar = run(process.execPath, [join(folder, "dns-sidecar.mjs"), join(folder, "sidecar.json")]);
    await until(() => isOk(ports.ready, "/ready"), 10_000);
  }
  function run(command: string, args: string[]): ChildProcess {
    const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"] });
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk: Buffer) => (log += chunk.toString()));
    return child;
  }
  function startServer(): void {
    server = run(program, ["-conf", join(folder, "Corefile")]);
  }
  async function startWitness(): Promise<void> {
    etcd.start(0, 1, 2);
    await etcd.enableAuth("dns", PASSWORD, "/skydns/");
  }
  /** All three: a witness, Beijing active, and the servers that know it. */
  async function startAll(): Promise<void> {
    await startWitness();
    await activate("beijing");
    await start();
    await until(() => leadsTo("beijing"));
  }
  /** What a region controller writes. */
  const activate = (region: keyof typeof EDGES) =>
    etcd.put(KEY, JSON.stringify({ host: `api-${region}.iam.example.com`, ttl: TTL }));
  const addressesOf = ({ records }: DnsAnswer) => records.filter(({ type }) => type === "A").map((r) => r.address);
  const ask = (name = NAME) => queryA(ports.dns, name);
  const leadsTo = async (region: keyof typeof EDGES) => addressesOf(await ask()).join() === EDGES[region];

  it("leads to the active region's edge, in one answer, for as long as the TTL", async () => {
    await startAll();
    await sleep(TTL * 1000);
    const answer = await ask();
    assert.deepEqual([answer.status, addressesOf(answer)], ["NOERROR", [EDGES.beijing]], log);
    const cname = answer.records.find(({ type }) => type === "CNAME");
    assert.equal(cname?.ttl, TTL);
    // An error here would keep resolvers from the other half of their question.
    assert.equal((await queryAaaa(ports.dns, NAME)).status, "NOERROR");
    assert.deepEqual(addressesOf(await ask("API.iam.Example.com")), [EDGES.beijing]);
    for (let i = 0; i < 5; i++) {
      for (const { ttl } of (await ask()).records) assert.ok(ttl <= TTL, `TTL ${ttl}`);
      await sleep(200);
    }
    assert.deepEqual(addressesOf(await ask("api-shenzhen.iam.example.com")), [EDGES.shenzhen]);
  });

  it("follows a change within the TTL", async () => {
    await startAll();
    for (const region of ["shanghai", "shenzhen", "beijing"] as const) {
      await until(async () => (await ask()).status === "NOERROR");
      const began = performance.now();
      await activate(region);
      await until(() => leadsTo(region));
      const millis = performance.now() - began;
      // A second for the cache's whole seconds.
      assert.ok(millis < TTL * 1000 + 1000, `${millis} ms with a TTL of ${TTL} s`);
    }
  });

  it("knows nothing else", async () => {
    await startAll();
    for (const name of ["iam.example.com", "example.com", "postgresql-beijing.iam.example.com", "example.org"])
      assert.equal((await ask(name)).status, "REFUSED", name);
    assert.equal((await ask(`x.${NAME}`)).status, "NXDOMAIN");
  });

  it("goes on with its last answer while the witness has no majority, and follows it again after", async () => {
    await startAll();
    assert.ok(await leadsTo("beijing"));
    await etcd.kill(0);
    await sleep(TTL * 1000 + 200);
    assert.ok(await leadsTo("beijing"), "without the first member");
    await activate("shanghai");
    await until(() => leadsTo("shanghai"), 10_000);
    await etcd.kill(1);
    for (let i = 0; i < 8; i++) {
      const began = performance.now();
      assert.ok(await leadsTo("shanghai"), "without a majority");
      const millis = performance.now() - began;
      // 0.5 s for the witness; a stub resolver asks again after 5 s.
      assert.ok(millis < 1500, `${millis} ms`);
      await sleep(900);
    }
    etcd.start(0, 1);
    await etcd.untilUp();
    await activate("shenzhen");
    await until(() => leadsTo("shenzhen"), 15_000);
  });

  it("is served by a region that comes up without the witness, as soon as that is there", async () => {
    await start();
    assert.ok(await isOk(ports.health, "/health"));
    assert.equal((await ask()).status, "SERVFAIL");
    assert.deepEqual(addressesOf(await ask("api-beijing.iam.example.com")), [EDGES.beijing]);
    // One of three: it answers, and lets nobody in.
    etcd.start(0);
    await sleep(3000);
    assert.equal((await ask()).status, "SERVFAIL");
    assert.deepEqual(await readdir(config.folder), []);
    etcd.start(1, 2);
    await etcd.enableAuth("dns", PASSWORD, "/skydns/");
    await activate("shanghai");
    await until(() => leadsTo("shanghai"), 30_000);
  });

  it("is served again by a server that was restarted while the witness had no majority", async () => {
    await startAll();
    await etcd.kill(1, 2);
    server!.kill("SIGKILL");
    await until(async () => !(await isOk(ports.health, "/health")));
    // As the kubelet does: again and again, with a pause.
    await until(async () => {
      if (server!.exitCode !== null || server!.signalCode !== null) startServer();
      await sleep(1500);
      return isOk(ports.ready, "/ready");
    }, 40_000);
    assert.deepEqual(addressesOf(await ask("api-beijing.iam.example.com")), [EDGES.beijing]);
    etcd.start(1, 2);
    await until(() => leadsTo("beijing"), 30_000);
  });

  it("is read with a new password and a new certificate, without a restart", async () => {
    await startAll();
    const given = () => readdir(config.folder).then((names) => names.filter((name) => name.startsWith("tls-")).join());
    const reloads = () => log.match(/Reloading complete/g)?.length ?? 0;
    await until(() => reloads() === 1);
    const first = await given();
    await etcd.setPassword("dns", "dns-password-00000000002");
    await writeFile(config.passwordFile, "dns-password-00000000002", { mode: 0o440 });
    await until(async () => (await given()) !== first);
    await until(() => reloads() === 2);
    const second = await given();
    await issueCertificate(folder, join(folder, "dns"), ["global-dns"]);
    await until(async () => (await given()) !== second);
    await until(() => reloads() === 3);
    await activate("shanghai");
    await until(() => leadsTo("shanghai"));
    for (const name of await readdir(config.folder, { recursive: true }))
      assert.equal((await stat(join(config.folder, name))).mode & 0o077, 0, `${name} is for its owner alone`);
    assert.doesNotMatch(log, /dns-password/);
  });

  it("is not read with a wrong password", async () => {
    await startWitness();
    await etcd.setPassword("dns", "another-password-0000001");
    await activate("beijing");
    await start();
    await sleep(2000);
    assert.equal((await ask()).status, "SERVFAIL");
    assert.deepEqual(await readdir(config.folder), []);
  });
});

async function isOk(port: number, path: string): Promise<boolean> {
  return fetch(`http://127.0.0.1:${port}${path}`, { signal: AbortSignal.timeout(2000) }).then(
    ({ ok }) => ok,
    () => false,
  );
}

async function until(condition: () => boolean | Promise<boolean>, timeoutMs = 15_000): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`not within ${timeoutMs} ms: ${condition.toString()}`);
    await sleep(50);
  }
}

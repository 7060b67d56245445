import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect } from "node:tls";
import { dnsKey, WITNESS_KEYS, witnessView } from "../../sidecar/core/region-activity.ts";
import type { RegionConfig } from "../../sidecar/core/region-config.ts";
import type { ActiveAnswer, BirthAnswer, RegionStatus } from "../../sidecar/core/region-status.ts";
import { call } from "../../sidecar/region/https.ts";
import { TlsFiles } from "../../sidecar/region/tls.ts";
import { WitnessClient } from "../../sidecar/region/witness-client.ts";
import { issueCertificate, makeAuthority } from "../support/certificates.ts";
import { eventually } from "../support/redis-servers.ts";
import { lookup, REGIONS, RegionWorld, TestController, type Name } from "../support/region-world.ts";
import { TestWitness } from "../support/test-witness.ts";

const DNS = dnsKey("api.test");
/** Time to live of the lease in these tests, and what etcd may add to it on a busy machine. */
const EXPIRY = 20_000;

describe("region controllers of three regions with a real witness", function () {
  this.timeout(90_000);
  let world: RegionWorld;
  let witness: TestWitness;
  let client: WitnessClient;
  const running = new Map<Name, TestController>();

  before(async function () {
    this.timeout(300_000); // packages may have to be fetched
    world = await RegionWorld.make();
    const options = {
      folder: world.folder,
      regions: REGIONS,
      tls: world.path("witness"),
      client: world.tls("beijing"),
    };
    witness = await TestWitness.start(options);
    client = new WitnessClient(configOf("beijing"), world.tls("beijing"));
    world.patroni.shanghai.standbyOf("beijing", world.postgresPort("beijing"), "shanghai");
    world.patroni.shenzhen.standbyOf("beijing", world.postgresPort("beijing"), "shenzhen");
  });
  after(async () => {
    for (const name of running.keys()) await stop(name);
    world?.stop();
    await witness?.stop(world.folder);
  });
  afterEach(function () {
    if (this.currentTest?.state !== "failed") return;
    for (const [name, { log }] of running)
      for (const line of log.slice(-20)) process.stdout.write(`${name} ${JSON.stringify(line)}\n`);
  });

  const configOf = (name: Name, changes: Partial<RegionConfig> = {}) =>
    world.config(name, (region) => witness.url(region), changes);
  const start = (name: Name, changes: Partial<RegionConfig> = {}) => {
    const controller = new TestController(configOf(name, changes));
    running.set(name, controller);
    return controller;
  };
  const stop = async (name: Name) => {
    await running.get(name)?.stop();
    running.delete(name);
  };
  const view = async () => witnessView(await client.read(WITNESS_KEYS.prefix, DNS), DNS);
  const get = async <T>(name: Name, path: string, as = "edge-client"): Promise<T> => {
    const url = `https://region-${name}.test:${world.port(name)}${path}`;
    const { status, body } = await call(world.tls(as), url, { timeoutMillis: 3000 });
    if (status !== 200) throw new Error(`${path} answered ${status}: ${body.toString()}`);
    return JSON.parse(body.toString()) as T;
  };
  const peer = (name: Name) => (name === "beijing" ? "shanghai" : "beijing");
  const status = (name: Name) => get<RegionStatus>(name, "/status?full", peer(name));
  const problems = async (name: Name) => (await status(name)).problems.map(({ kind, subject }) => `${kind} ${subject}`);

  it("a standby region claims nothing, and nobody is active while the first region's database is not a primary", async () => {
    world.patroni.beijing.up = false;
    start("shanghai");
    start("beijing");
    await eventually("the witness is read", 10_000, async () => (await status("beijing")).witness.reachable);
    await new Promise((resolve) => setTimeout(resolve, 2000));
    assert.equal((await view()).epoch, undefined);
    assert.equal((await get<ActiveAnswer>("beijing", "/active")).active, undefined);
  });

  it("the first region claims when its database is a primary; the other one and the name follow", async () => {
    world.patroni.beijing.up = true;
    await eventually("beijing is active", 10_000, async () => (await view()).active?.region === "beijing");
    assert.equal((await view()).epoch?.value, 1);
    assert.deepEqual(JSON.parse((await view()).dns!), { host: "api-beijing.test", ttl: 5 });
    await eventually("shanghai knows", 5000, async () => {
      const answer = await get<ActiveAnswer>("shanghai", "/active");
      assert.deepEqual(answer.edge, { host: "api-beijing.test", port: 443 });
      assert.ok(answer.ageMillis! < 3000);
      return answer.active?.region === "beijing" && answer.active.epoch === 1 && answer.region === "shanghai";
    });
  });

  it("a controller that restarts within the lease's time goes on under the same epoch", async () => {
    await stop("beijing");
    const again = start("beijing");
    await eventually("it holds activity", 5000, () => again.events("keeping").length === 1);
    await new Promise((resolve) => setTimeout(resolve, 5000));
    const { active, epoch } = await view();
    assert.deepEqual([active?.region, active?.epoch, epoch?.value], ["beijing", 1, 1], "kept over its time to live");
    assert.equal(again.events("claimed").length, 0);
  });

  it("a database that is to be made is told what it becomes", async () => {
    start("shenzhen");
    const birth = (name: Name) => get<BirthAnswer>(name, "/birth", "postgres");
    await eventually("shanghai's cluster is known", 5000, async () =>
      (await birth("shanghai")).cause.includes("already"),
    );
    world.patroni.shenzhen.up = false;
    await eventually("shenzhen's is empty", 8000, async () => {
      const answer = await birth("shenzhen");
      if (answer.as !== "standby") return false;
      assert.deepEqual(answer.source, {
        host: "postgresql-beijing.test",
        port: world.postgresPort("beijing"),
        slot: "shenzhen",
      });
      return answer.cause.startsWith("beijing is active by the witness");
    });
    // The active region's own volumes are gone: its copies are not thrown away for an empty database.
    world.patroni.beijing.up = false;
    await eventually("beijing waits", 8000, async () => {
      const answer = await birth("beijing");
      return answer.as === "wait" && /a copy in shanghai/.test(answer.cause);
    });
    world.patroni.beijing.up = world.patroni.shenzhen.up = true;
  });

  it("when the lease has run out nobody else takes over, and the region takes it back under the next epoch", async () => {
    await stop("beijing");
    await eventually("nobody is active", EXPIRY, async () => (await view()).active === undefined);
    // A primary by mistake: loud, and nothing else.
    const shanghai = world.patroni.shanghai;
    const before = shanghai.standbyCluster;
    shanghai.role = "primary";
    shanghai.standbyCluster = undefined;
    await eventually("two primaries are reported", 8000, async () =>
      (await problems("shanghai")).includes("two-primaries shanghai"),
    );
    assert.equal((await view()).active, undefined);
    assert.equal((await view()).dns, '{"host":"api-beijing.test","ttl":5}', "clients are still led to where they were");
    shanghai.role = "standby_leader";
    shanghai.standbyCluster = before;
    await eventually("it is over", 8000, async () => !(await problems("shanghai")).includes("two-primaries shanghai"));
    assert.ok((await problems("shanghai")).includes("nobody-active beijing"));

    world.patroni.beijing.leads = false;
    const again = start("beijing");
    await eventually("it reads the witness", 5000, async () => (await status("beijing")).witness.reachable);
    await new Promise((resolve) => setTimeout(resolve, 1500));
    assert.equal((await view()).active, undefined, "not without a leader of its database");
    world.patroni.beijing.leads = true;
    await eventually("beijing is active", 8000, async () => (await view()).active?.epoch === 2);
    assert.match(String(again.events("claimed")[0]?.["cause"]), /ran out/);
    assert.equal(again.events("claimed")[0]?.["epoch"], 2);
  });

  it("the platform's name is brought back when it was taken away", async () => {
    await witness.deletePrefix("/skydns/");
    await eventually(
      "the name is back",
      5000,
      async () => (await view()).dns === '{"host":"api-beijing.test","ttl":5}',
    );
  });

  it("a standby cluster streams from the next region when its source is lost, and goes back", async () => {
    const { patches } = world.patroni.shenzhen;
    await eventually("all know each other", 8000, async () => (await status("shenzhen")).database.source === "beijing");
    assert.equal(patches.length, 0);
    world.patroni.shenzhen.streaming = false;
    world.patroni.shenzhen.promoting = true;
    await stop("beijing");
    await new Promise((resolve) => setTimeout(resolve, 6000));
    assert.equal(patches.length, 0, "nothing is changed in a cluster that somebody promotes");
    world.patroni.shenzhen.promoting = false;
    await eventually("shenzhen streams from shanghai", 15_000, () => patches.length === 1);
    const port = world.postgresPort("shanghai");
    assert.deepEqual(patches[0]!.body, {
      standby_cluster: { host: "postgresql-shanghai.test", port, primary_slot_name: "shenzhen" },
    });
    const expected = Buffer.from("patroni:patroni-password-00001").toString("base64");
    assert.equal(patches[0]!.authorization, `Basic ${expected}`);
    world.patroni.shenzhen.streaming = true;
    start("beijing");
    await eventually("and back from beijing", 20_000, () => patches.length === 2);
    assert.equal(
      (patches[1]!.body as { standby_cluster: { host: string } }).standby_cluster.host,
      "postgresql-beijing.test",
    );
    assert.equal(world.patroni.shanghai.patches.length + world.patroni.beijing.patches.length, 0);
  });

  it("a secret that differs between regions is named, and never shown", async () => {
    await eventually(
      "shanghai is asked",
      10_000,
      async () => Object.keys((await status("shanghai")).fingerprints).length === 2,
    );
    assert.ok(!(await problems("beijing")).some((p) => p.startsWith("secret-differs shanghai")));
    await writeFile(world.path("shared-shanghai"), "another-secret-000000001");
    await eventually("the difference is seen", 15_000, async () =>
      (await problems("beijing")).includes("secret-differs shanghai/replication"),
    );
    const plain = await fetch(`http://127.0.0.1:${world.statusPort("beijing")}/status.json`);
    const text = await plain.text();
    assert.deepEqual((JSON.parse(text) as RegionStatus).fingerprints, {});
    for (const secret of ["another-secret", "one-secret", "witness-password", "patroni-password", "monitor-password"]) {
      assert.ok(!text.includes(secret));
      for (const { log } of running.values()) assert.ok(!JSON.stringify(log).includes(secret), secret);
    }
  });

  it("regions that disagree on who is the first are told apart", async () => {
    const regions = configOf("shenzhen").regions;
    await stop("shenzhen");
    start("shenzhen", {
      regions: {
        ...regions,
        beijing: { ...regions["beijing"]!, initiallyActive: false },
        shenzhen: { ...regions["shenzhen"]!, initiallyActive: true },
      },
    });
    await eventually("it is seen", 15_000, async () =>
      (await problems("beijing")).includes("config-differs shenzhen/config:regions"),
    );
    await stop("shenzhen");
  });

  it("answers probes and Prometheus", async () => {
    const plain = (path: string) => fetch(`http://127.0.0.1:${world.statusPort("beijing")}${path}`);
    assert.equal((await plain("/healthz")).status, 200);
    const metrics = await (await plain("/metrics")).text();
    assert.match(metrics, /^iam_ha_active 1$/m);
    assert.match(metrics, /^iam_ha_epoch [0-9]+$/m);
    assert.equal((await plain("/status")).status, 404);
  });

  describe("who may ask", () => {
    const refused = async (tls: TlsFiles, path: string) => {
      const url = `https://region-beijing.test:${world.port("beijing")}${path}`;
      return (await call(tls, url, { timeoutMillis: 3000 })).status;
    };

    it("nobody without a certificate, or with one of another authority", async () => {
      const ca = (await world.tls("beijing").material()).ca;
      const options = { host: "127.0.0.1", port: world.port("beijing"), servername: "region-beijing.test", ca };
      const outcome = (extra: object) =>
        new Promise<string>((resolve) => {
          const socket = connect({ ...options, ...extra }, () =>
            socket.write("GET /active HTTP/1.1\r\nhost: x\r\n\r\n"),
          );
          socket.once("data", () => resolve("answered"));
          socket.once("error", (error: NodeJS.ErrnoException) => resolve(error.code ?? "error"));
          socket.once("close", () => resolve("closed"));
          socket.setTimeout(3000, () => socket.destroy());
        });
      assert.notEqual(await outcome({}), "answered");
      const foreign = await mkdtemp(join(tmpdir(), "iam-ha-foreign-"));
      try {
        await mkdir(join(foreign, "own"));
        await makeAuthority(foreign, "another authority");
        await issueCertificate(foreign, join(foreign, "own"), ["region-shanghai.test"]);
        const { cert, key } = await new TlsFiles(
          {
            caFile: join(foreign, "own/ca.crt"),
            certFile: join(foreign, "own/tls.crt"),
            keyFile: join(foreign, "own/tls.key"),
          },
          lookup,
        ).material();
        assert.notEqual(await outcome({ cert, key }), "answered");
      } finally {
        await rm(foreign, { recursive: true, force: true });
      }
      const own = await world.tls("edge-client").material();
      assert.equal(await outcome({ cert: own.cert, key: own.key }), "answered", "the same way in, with a certificate");
    });

    it("other parts only who is active and what to become; a region's own name is no peer's", async () => {
      const paths = ["/status", "/status?full", "/position", "/digest?table=x", "/sessions/keys", "/nothing"];
      for (const path of paths) {
        assert.equal(await refused(world.tls("edge-client"), path), 403, path);
        assert.equal(await refused(world.tls("postgres"), path), 403, path);
        assert.equal(await refused(world.tls("beijing"), path), 403, path);
      }
      for (const path of ["/active", "/birth"]) assert.equal(await refused(world.tls("edge-client"), path), 200, path);
      assert.equal(await refused(world.tls("shenzhen"), "/status?full"), 200);
      assert.equal(await refused(world.tls("shenzhen"), "/nothing"), 404);
      assert.equal(await refused(world.tls("shenzhen"), "/digest?table=x"), 400);
    });

    it("a renewed certificate is shown without a restart", async () => {
      const serial = () =>
        new Promise<string>((resolve, reject) => {
          const socket = connect({ host: "127.0.0.1", port: world.port("beijing"), rejectUnauthorized: false }, () => {
            resolve(socket.getPeerCertificate().serialNumber);
            socket.destroy();
          });
          socket.once("error", reject);
        });
      const before = await serial();
      await world.issue("beijing", ["region-beijing.test", "region-controller", "localhost"]);
      await eventually("the new one is shown", 20_000, async () => (await serial()) !== before);
      await eventually("and peers take it", 10_000, async () => (await status("beijing")).region === "beijing");
    });
  });

  describe("as a process", () => {
    const main = new URL("../../sidecar/region/main.ts", import.meta.url).pathname;
    const spawnMain = (file: string) => {
      const child = spawn(process.execPath, [main, file], { stdio: ["ignore", "pipe", "pipe"] });
      const output = { text: "" };
      for (const stream of [child.stdout, child.stderr])
        stream.on("data", (chunk: Buffer) => (output.text += chunk.toString()));
      const exit = new Promise<number | null>((resolve) => child.once("exit", resolve));
      return { child, output, exit };
    };

    it("ends with 0 when it is told to, and leaves activity to who comes back", async () => {
      await stop("beijing");
      const config = configOf("beijing");
      const local = (url: string) => url.replace("witness-beijing.test", "localhost");
      const own = { ...config.regions["beijing"]!, witness: local(witness.url("beijing")) };
      await writeFile(world.path("region.json"), JSON.stringify({ ...config, regions: { beijing: own }, links: [] }));
      const { child, output, exit } = spawnMain(world.path("region.json"));
      try {
        await eventually("it holds activity", 15_000, () => /"event":"(keeping|claimed)"/.test(output.text));
        const begun = performance.now();
        child.kill("SIGTERM");
        assert.equal(await exit, 0, output.text);
        assert.ok(performance.now() - begun < 5000);
        assert.equal((await view()).active?.region, "beijing");
      } finally {
        child.kill("SIGKILL");
      }
      for (const line of output.text.trim().split("\n")) {
        const { service, region, event, cause } = JSON.parse(line) as Record<string, unknown>;
        assert.deepEqual(
          [service, region, typeof event, typeof cause],
          ["region-controller", "beijing", "string", "string"],
        );
      }
    });

    it("says what is wrong with its configuration, by the path", async () => {
      await writeFile(world.path("bad.json"), JSON.stringify({ ...configOf("beijing"), region: 7, surplus: 1 }));
      const { output, exit } = spawnMain(world.path("bad.json"));
      assert.equal(await exit, 1);
      assert.match(
        output.text,
        /bad\.json is not a configuration of the region controller:\n {2}region: .*expected string/,
      );
      assert.match(output.text, /surplus/);
      await writeFile(world.path("bad.json"), JSON.stringify({ ...configOf("beijing"), region: "guangzhou" }));
      const other = spawnMain(world.path("bad.json"));
      assert.equal(await other.exit, 1);
      assert.match(other.output.text, /guangzhou is not one of its regions: beijing, shanghai, shenzhen/);
    });
  });

  describe("told to stop", () => {
    it("stops soon after it is told to, whatever it waits for", async () => {
      const controller = start("beijing");
      await eventually(
        "it holds activity",
        15_000,
        () => controller.events("keeping").length + controller.events("claimed").length > 0,
      );
      witness.freeze("beijing");
      witness.freeze("shanghai");
      try {
        await new Promise((resolve) => setTimeout(resolve, 500));
        const begun = performance.now();
        await stop("beijing");
        assert.ok(performance.now() - begun < 4000, `${performance.now() - begun} ms`);
      } finally {
        witness.thaw("beijing");
        witness.thaw("shanghai");
      }
    });
  });
});

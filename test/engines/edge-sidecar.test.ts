import assert from "node:assert/strict";
import { spawn, type ChildProcess } from "node:child_process";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import http from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { bundle } from "../../scripts/images/bundles.ts";
import type { EdgeSidecarConfig } from "../../sidecar/core/edge-sidecar-config.ts";
import { parseRoute } from "../../sidecar/core/edge-route.ts";
import type { ActiveAnswer } from "../../sidecar/core/region-status.ts";
import { issueCertificate } from "../support/certificates.ts";
import { DOMAIN, makeCertificates, RunningEdge } from "../support/edge.ts";
import { freePorts } from "../support/sockets.ts";
import { FakeApi } from "../support/fake-api.ts";
import { FakeController } from "../support/fake-controller.ts";
import { request } from "../support/request.ts";

const ROOT = join(import.meta.dirname, "../..");
/** Resolves on every machine; certificates of the test are good for it where they must be. */
const REMOTE = "localhost";

const active = (region: string, epoch: number): ActiveAnswer => ({
  region: "shanghai",
  active: { region, epoch, since: "2026-11-24T00:00:00.000Z" },
  ageMillis: 10,
  edge: { host: region === "shanghai" ? `api-shanghai.${DOMAIN}` : REMOTE, port: 443 },
});

/** The bundled program, as the image has it. */
describe("the edge sidecar", function () {
  this.timeout(60_000);
  let folder: string;
  let controller: FakeController;
  let config: EdgeSidecarConfig;
  let child: ChildProcess | undefined;
  let log = "";

  before(async function () {
    this.timeout(600_000);
    folder = await mkdtemp(join(tmpdir(), "iam-ha-edge-sidecar-"));
    await makeCertificates(folder);
    for (const [part, names] of Object.entries({ region: ["localhost"], far: ["edge-client", REMOTE] })) {
      await mkdir(join(folder, part));
      await issueCertificate(folder, join(folder, part), names);
    }
    const program = await bundle(ROOT, [{ name: "edge-sidecar", entry: "sidecar/edge/main.ts" }]);
    for (const { path, contents } of program) await writeFile(join(folder, path), contents);
  });
  after(() => rm(folder, { recursive: true, force: true }));

  beforeEach(async () => {
    controller = await FakeController.start(join(folder, "region"), active("shanghai", 1));
    const routes = await mkdtemp(join(folder, "routes-"));
    const [statusPort] = await freePorts(1);
    const tls = join(folder, "edge-client-shanghai");
    config = {
      region: "shanghai",
      controller: `https://localhost:${controller.port}`,
      tls: { caFile: join(tls, "ca.crt"), certFile: join(tls, "tls.crt"), keyFile: join(tls, "tls.key") },
      pollMillis: 100,
      callTimeoutMillis: 500,
      firstAnswerMillis: 3000,
      resolveMillis: 1000,
      addressMillis: 0,
      routeFile: join(routes, "route.conf"),
      peer: { port: 8444, keepalive: 16, keepaliveIdleSeconds: 30 },
      statusPort: statusPort!,
    };
  });
  afterEach(async () => {
    await stop();
    await controller.kill();
  });

  async function start(): Promise<void> {
    const path = join(folder, "sidecar.json");
    await writeFile(path, JSON.stringify(config));
    log = "";
    child = spawn(process.execPath, [join(folder, "edge-sidecar.mjs"), path], { stdio: ["ignore", "pipe", "pipe"] });
    for (const stream of [child.stdout!, child.stderr!])
      stream.on("data", (chunk: Buffer) => (log += chunk.toString()));
    await until(async () => (await status("/healthz"))?.status === 200);
  }
  /** @returns milliseconds until it has ended */
  async function stop(signal: NodeJS.Signals = "SIGTERM"): Promise<number> {
    const running = child;
    child = undefined;
    if (!running || running.exitCode !== null) return 0;
    const began = performance.now();
    const ended = new Promise((resolve) => running.once("exit", resolve));
    running.kill(signal);
    await ended;
    return performance.now() - began;
  }
  function status(path: string): Promise<{ status: number; body: string } | undefined> {
    return new Promise((resolve) => {
      http
        .get({ host: "127.0.0.1", port: config.statusPort, path }, (res) => {
          let body = "";
          res.on("data", (chunk: Buffer) => (body += chunk.toString()));
          res.once("end", () => resolve({ status: res.statusCode!, body }));
        })
        .once("error", () => resolve(undefined));
    });
  }
  const route = async () => parseRoute(await readFile(config.routeFile, "utf8").catch(() => ""));
  const settled = () => sleep(600);

  it("leaves NGINX alone while its region is active, and shows the controller the edge's certificate", async () => {
    await start();
    await until(() => controller.clients.length > 5);
    assert.deepEqual(new Set(controller.clients), new Set(["edge-client"]));
    assert.equal(controller.connections, 1, "one connection for all questions");
    assert.deepEqual(await readdir(join(config.routeFile, "..")), []);
    const known = JSON.parse((await status("/status"))!.body) as { serves: string; epoch: number };
    assert.deepEqual([known.serves, known.epoch], ["shanghai", 1]);
  });

  it("writes where requests go when another region becomes active, once, and that they come home", async () => {
    await start();
    controller.says = active("beijing", 2);
    await until(async () => (await route())?.route.to === "remote");
    const file = (await route())!;
    assert.deepEqual(file.route, { to: "remote", region: "beijing", host: REMOTE });
    assert.ok(file.addresses.includes("127.0.0.1"), file.addresses.join());
    // A newer epoch of the same region is no other way; an older one of another region is no news.
    controller.says = active("beijing", 4);
    await settled();
    controller.says = active("shanghai", 3);
    await settled();
    assert.deepEqual(await route(), file);
    controller.says = active("shanghai", 5);
    await until(async () => (await route())?.route.to === "local");
    assert.equal(log.match(/"event":"route"/g)?.length, 2);
    assert.deepEqual(await readdir(join(config.routeFile, "..")), ["route.conf"]);
  });

  it("goes on as before while the controller is silent, gone, wrong, or a stranger", async () => {
    controller.says = active("beijing", 2);
    await start();
    await until(async () => (await route())?.route.to === "remote");
    for (const says of [
      undefined,
      "no json",
      '{"region":"shanghai","active":{"region":"shanghai","epoch":"9"}}',
    ] as const) {
      controller.says = says;
      await settled();
      assert.equal((await route())!.route.to, "remote", says);
    }
    const { port } = controller;
    await controller.kill();
    await settled();
    assert.equal((await status("/healthz"))!.status, 200, "without a controller it is as well as before");
    // Another one at the same address, with a certificate for another name.
    controller = await FakeController.start(join(folder, "stranger"), active("shanghai", 9), port);
    await settled();
    assert.equal((await route())!.route.to, "remote");
    assert.equal(controller.clients.length, 0);
    await controller.kill();
    controller = await FakeController.start(join(folder, "region"), active("shanghai", 9), port);
    await until(async () => (await route())!.route.to === "local");
    const said = log.match(/"event":"controller-silent"/g)?.length;
    assert.ok(said !== undefined && said <= 4, `said ${said} times`);
  });

  it("lets its pod wait for the first word, and not for ever", async () => {
    controller.says = undefined;
    await start();
    assert.equal((await status("/readyz"))!.status, 503);
    controller.says = active("beijing", 2);
    await until(async () => (await status("/readyz"))!.status === 200, 2000);
    assert.equal((await route())!.route.to, "remote", "ready means that NGINX was told");
    await stop();
    await rm(config.routeFile);
    controller.says = undefined;
    await start();
    assert.equal((await status("/readyz"))!.status, 503);
    await until(async () => (await status("/readyz"))!.status === 200, 5000);
    assert.equal(await route(), undefined, "and serves here");
  });

  it("remembers over a restart, killed or ended, and ends at once", async () => {
    controller.says = active("beijing", 6);
    await start();
    await until(async () => (await route())?.route.to === "remote");
    controller.says = undefined;
    await stop("SIGKILL");
    await start();
    await settled();
    assert.equal((await route())!.route.to, "remote");
    controller.says = active("shanghai", 5);
    await settled();
    assert.equal((await route())!.route.to, "remote", "the epoch is remembered too");
    const millis = await stop();
    assert.ok(millis < 2000, `${millis} ms`);
  });

  it("refuses a configuration that is wrong, in words", async () => {
    const path = join(folder, "wrong.json");
    await writeFile(path, JSON.stringify({ ...config, pollMillis: 0, extra: 1 }));
    const wrong = spawn(process.execPath, [join(folder, "edge-sidecar.mjs"), path], {
      stdio: ["ignore", "ignore", "pipe"],
    });
    let text = "";
    wrong.stderr.on("data", (chunk: Buffer) => (text += chunk.toString()));
    assert.equal(await new Promise((resolve) => wrong.once("close", resolve)), 1);
    assert.match(text, /pollMillis: /);
    assert.match(text, /extra/);
  });

  it("turns a real edge to another region's and back, within seconds and without losing a request", async () => {
    const apis = await Promise.all(
      ["127.0.0.2", "127.0.0.3"].map((address) => FakeApi.start({ address, tls: join(folder, "api") })),
    );
    const settings = { limits: { api: { ratePerSecond: 100_000, burst: 100_000 } }, workers: { processes: 1 } };
    const edge = (region: string, api: FakeApi, client?: string) =>
      RunningEdge.start(folder, {
        region,
        settings,
        upstream: { servers: [api.address], port: api.port, tls: true },
        ...(client === undefined ? {} : { client }),
      });
    const beijing = await edge("beijing", apis[0]!, "far");
    const shanghai = await edge("shanghai", apis[1]!);
    try {
      config = { ...config, routeFile: shanghai.routeFile, peer: { ...config.peer, port: beijing.ports.peer } };
      await start();
      const ask = async () => {
        const answer = await request("https", shanghai.ports.https, "/api/users", { host: `api.${DOMAIN}` });
        assert.equal(answer.status, 200, answer.body);
        return answer.headers["x-iam-region"];
      };
      assert.equal(await ask(), "shanghai");
      for (const [region, epoch] of [
        ["beijing", 2],
        ["shanghai", 3],
        ["beijing", 4],
      ] as const) {
        const began = performance.now();
        controller.says = active(region, epoch);
        await until(async () => (await ask()) === region);
        const millis = performance.now() - began;
        assert.ok(millis < 5000, `${millis} ms until ${region} served`);
      }
    } finally {
      await shanghai.stop();
      await beijing.stop();
      for (const api of apis) await api.kill();
    }
  });
});

async function until(condition: () => boolean | Promise<boolean>, timeoutMs = 15_000): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`not within ${timeoutMs} ms: ${condition.toString()}`);
    await sleep(20);
  }
}

import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { edgeConfig } from "../../components/edge/plan.ts";
import { edgeSettings } from "../../components/edge/settings.ts";
import { HOST, makeCertificates, RunningEdge } from "../support/edge.ts";
import { freePorts } from "../support/sockets.ts";
import { FakeApi } from "../support/fake-api.ts";
import { request, type RequestOptions } from "../support/request.ts";

const ADDRESSES = ["127.0.0.2", "127.0.0.3", "127.0.0.4"];
/** So that no limit is met. */
const UNLIMITED = { limits: { api: { ratePerSecond: 100_000, burst: 100_000 } }, workers: { processes: 1 } };

describe("the edge and the API's pods", function () {
  this.timeout(120_000);
  let certificates: string;
  let pods: FakeApi[] = [];
  let edge: RunningEdge | undefined;

  before(async function () {
    this.timeout(600_000);
    certificates = await mkdtemp(join(tmpdir(), "iam-ha-certificates-"));
    await makeCertificates(certificates);
  });
  after(() => rm(certificates, { recursive: true, force: true }));
  afterEach(async () => {
    await edge?.stop();
    for (const pod of pods) await pod.kill();
    edge = undefined;
    pods = [];
  });

  async function start(
    options: { settings?: object; tls?: boolean; apiCertificate?: string; replace?: Record<string, string> } = {},
  ): Promise<RunningEdge> {
    const tls = options.tls ?? true;
    const folder = tls ? { tls: join(certificates, options.apiCertificate ?? "api") } : {};
    const [port] = await freePorts(1);
    for (const address of ADDRESSES) {
      const pod = await FakeApi.start({ address, port: port!, ...folder });
      pods.push(pod);
    }
    edge = await RunningEdge.start(certificates, {
      upstream: { servers: ADDRESSES, port: port!, tls },
      settings: { ...UNLIMITED, ...options.settings },
      replace: options.replace ?? {},
    });
    return edge;
  }
  const ask = (path: string, options: Partial<RequestOptions> = {}) =>
    request("https", edge!.ports.https, path, { host: HOST, ...options });
  const connections = () => pods.reduce((sum, pod) => sum + pod.connections, 0);
  const seen = () => pods.reduce((sum, pod) => sum + pod.seen.length, 0);

  for (const tls of [true, false]) {
    it(`keeps its connections to the API open (${tls ? "TLS" : "plain"})`, async () => {
      await start({ tls });
      for (let i = 0; i < 90; i++) assert.equal((await ask("/api/users")).status, 200);
      assert.equal(seen(), 90);
      assert.ok(connections() <= ADDRESSES.length, `${connections()} connections for 90 requests, one after the other`);
      const share = pods.map((pod) => pod.seen.length);
      assert.ok(Math.min(...share) >= 20, `each pod has its share: ${share.join(", ")}`);
      assert.ok(pods.every((pod) => pod.seen.every(({ headers }) => headers.connection !== "close")));
    });
  }

  it("opens a new connection for every request without these two lines, which is what they are for", async () => {
    const generated = edgeConfig({
      settings: edgeSettings.parse({}),
      region: "beijing",
      domain: "iam.example.com",
      upstream: { servers: ADDRESSES, port: 3000, tls: false, tlsName: "iam-api" },
    })["proxy.conf"]!;
    const without = generated
      .replace(/^proxy_http_version .*\n/m, "")
      .replace(/^proxy_set_header Connection .*\n/m, "");
    assert.notEqual(without, generated);
    await start({ tls: false, replace: { "proxy.conf": without } });
    const before = connections();
    for (let i = 0; i < 30; i++) assert.equal((await ask("/api/users")).status, 200);
    assert.equal(connections() - before, 30);
  });

  it("sends a request to the pod with the fewest open ones", async () => {
    await start();
    const slow = Array.from({ length: 6 }, () => ask("/api/slow/1500"));
    await until(() => seen() === 6);
    assert.deepEqual(
      pods.map((pod) => pod.seen.length),
      [2, 2, 2],
    );
    await Promise.all(slow);
  });

  it("loses no GET when a pod dies, keeps off it, and finds it again", async () => {
    await start({ settings: { ...UNLIMITED, upstream: { failTimeoutSeconds: 1 } } });
    const port = pods[0]!.port;
    const statuses: number[] = [];
    let stop = false;
    const client = async () => {
      while (!stop) statuses.push((await ask("/api/slow/5")).status);
    };
    const clients = [client(), client(), client(), client()];
    await until(() => statuses.length > 40);
    await pods[1]!.kill();
    const atDeath = statuses.length;
    await until(() => statuses.length > atDeath + 80);
    await pods[1]!.listen(port);
    const back = pods[1]!.seen.length;
    await until(() => pods[1]!.seen.length > back + 5);
    stop = true;
    await Promise.all(clients);
    assert.deepEqual(new Set(statuses), new Set([200]));
  });

  it("never sends a POST twice, and tries a GET at every pod once", async () => {
    await start();
    const post = await ask("/api/break", { method: "POST", body: "{}" });
    assert.equal(post.status, 502);
    assert.equal(seen(), 1);
    const get = await ask("/api/break");
    assert.equal(get.status, 502);
    assert.equal(seen(), 1 + ADDRESSES.length);
    assert.deepEqual((JSON.parse(get.body) as { error: { code: string } }).error.code, "bad_gateway");
    assert.equal(get.headers["strict-transport-security"], "max-age=31536000; includeSubDomains");
  });

  it("sends a POST elsewhere when the pod never got it", async () => {
    await start();
    await pods[0]!.kill();
    await pods[2]!.kill();
    for (let i = 0; i < 6; i++) assert.equal((await ask("/api/users", { method: "POST", body: "{}" })).status, 200);
    assert.equal(pods[1]!.seen.length, 6);
  });

  it("answers 502 in JSON when no pod is left, and serves again when one is back", async () => {
    await start({ settings: { ...UNLIMITED, upstream: { failTimeoutSeconds: 1 } } });
    const port = pods[0]!.port;
    for (const pod of pods) await pod.kill();
    const answer = await ask("/api/users");
    assert.equal(answer.status, 502);
    assert.equal((JSON.parse(answer.body) as { error: { code: string } }).error.code, "bad_gateway");
    assert.equal(answer.headers["x-frame-options"], "DENY");
    assert.equal((await ask("/health")).status, 200, "the edge itself is well");
    await pods[2]!.listen(port);
    await until(async () => (await ask("/api/users")).status === 200);
  });

  it("answers 504 in JSON when the API is too slow, after the read time-out", async () => {
    await start({ settings: { ...UNLIMITED, upstream: { readTimeoutSeconds: 1, connectTimeoutSeconds: 1 } } });
    const answer = await ask("/api/slow/20000", { method: "POST", body: "{}" });
    assert.equal(answer.status, 504);
    assert.equal((JSON.parse(answer.body) as { error: { code: string } }).error.code, "gateway_timeout");
    assert.equal(seen(), 1);
  });

  it("does not talk to an API with another one's certificate", async () => {
    await start({ apiCertificate: "stranger" });
    assert.equal((await ask("/api/users")).status, 502);
    assert.equal(seen(), 0);
    assert.match(await edge!.errorLog(), /upstream SSL certificate does not match "iam-api"/);
  });
});

async function until(condition: () => boolean | Promise<boolean>, timeoutMs = 40_000): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`not within ${timeoutMs} ms: ${condition.toString()}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

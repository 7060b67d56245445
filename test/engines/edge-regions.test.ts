import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import https from "node:https";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { printRoute, UNKNOWN_ROUTE, type RouteFile } from "../../sidecar/core/edge-route.ts";
import { DOMAIN, hostOf, makeCertificates, RunningEdge } from "../support/edge.ts";
import { freePorts } from "../support/sockets.ts";
import { FakeApi } from "../support/fake-api.ts";
import { request, type Answer, type RequestOptions } from "../support/request.ts";

const UNLIMITED = { limits: { api: { ratePerSecond: 100_000, burst: 100_000 } }, workers: { processes: 1 } };
const PEER = { keepalive: 16, keepaliveIdleSeconds: 30 };
const LOCAL = printRoute({ ...UNKNOWN_ROUTE, addresses: [] }, { port: 1, ...PEER });

/** Client addresses on loopback, none used twice: each has limits of its own. */
let last = 1;
const newClient = () => `127.77.${(last += 1) >> 8}.${last & 255}`;

describe("edges of two regions", function () {
  this.timeout(60_000);
  let certificates: string;
  let apis: { beijing: FakeApi; shanghai: FakeApi };
  let beijing: RunningEdge;
  let shanghai: RunningEdge;

  before(async function () {
    this.timeout(600_000);
    certificates = await mkdtemp(join(tmpdir(), "iam-ha-certificates-"));
    await makeCertificates(certificates);
    const tls = join(certificates, "api");
    apis = {
      beijing: await FakeApi.start({ address: "127.0.0.2", tls }),
      shanghai: await FakeApi.start({ address: "127.0.0.3", tls }),
    };
  });
  after(async () => {
    await apis?.beijing.kill();
    await apis?.shanghai.kill();
    await rm(certificates, { recursive: true, force: true });
  });

  const start = (region: "beijing" | "shanghai", settings: object = {}) =>
    RunningEdge.start(certificates, {
      region,
      upstream: { servers: [apis[region].address], port: apis[region].port, tls: true },
      settings: { workers: { processes: 1 }, drainSeconds: 5, ...settings },
    });
  const ask = (edge: RunningEdge, path: string, options: Partial<RequestOptions> = {}) =>
    request("https", edge.ports.https, path, { host: `api.${DOMAIN}`, ...options });
  const toEdge = (region: string, port: number, addresses = ["127.0.0.1"]): string => {
    const file: RouteFile = { epoch: 7, route: { to: "remote", region, host: hostOf(region) }, addresses };
    return printRoute(file, { port, ...PEER });
  };
  /** Sends an edge's requests elsewhere and waits until they go there: workers of before the reload may take a few more. */
  async function changed(edge: RunningEdge, text: string, isThere: (answer: Answer) => boolean): Promise<void> {
    await edge.route(text);
    const there = async () => isThere(await ask(edge, "/api/users", { from: newClient(), timeoutMs: 20_000 }));
    // Until the workers of before the reload are gone, either may take the next request.
    await until(async () => (await there()) && (await edge.workers()) === 1 && (await there()));
  }
  const routed = (edge: RunningEdge, text: string, region: string) =>
    changed(edge, text, ({ headers }) => headers["x-iam-region"] === region);

  describe("one active, one not", () => {
    before(async () => {
      beijing = await start("beijing");
      shanghai = await start("shanghai");
      await routed(shanghai, toEdge("beijing", beijing.ports.peer), "beijing");
    });
    after(async () => {
      await shanghai?.stop();
      await beijing?.stop();
    });

    it("serve what changes data in the active region, and what does not where it was asked", async () => {
      for (const path of ["/api/users?page=2&q=a%2Fb%20c", "/api/auth/login", "/api/auth/login/totp"]) {
        const from = newClient();
        const seen = apis.beijing.seen.length;
        const answer = await ask(shanghai, path, { method: "POST", body: "{}", from });
        assert.equal(answer.status, 200, path);
        assert.deepEqual(answer.all("x-iam-region"), ["beijing"]);
        assert.equal(answer.headers["x-pod"], apis.beijing.address);
        assert.equal(apis.beijing.seen.length, seen + 1);
        const { url, method, headers } = apis.beijing.seen.at(-1)!;
        assert.deepEqual([url, method, headers.host], [path, "POST", `api.${DOMAIN}`]);
        assert.equal(headers["x-real-ip"], from, "the API sees the client's address and not the edge's");
        assert.equal(headers["x-forwarded-for"], from);
        assert.match(answer.headers["x-request-id"] as string, /^[0-9a-f]{32}$/);
        assert.equal(headers["x-request-id"], answer.headers["x-request-id"], "one id for the whole way");
        for (const name of ["x-frame-options", "x-request-id", "strict-transport-security"])
          assert.equal(answer.all(name).length, 1, `${name}: ${answer.all(name).join(" | ")}`);
      }
      const local = await ask(shanghai, "/static/app.js", { from: newClient() });
      assert.equal(local.headers["x-pod"], apis.shanghai.address);
      assert.equal(local.headers["x-iam-region"], "shanghai");
      assert.equal((await ask(shanghai, "/health")).headers["x-iam-region"], undefined);
      assert.match(await shanghai.accessLog(), /POST \/api\/auth\/login HTTP/);
      assert.match(await beijing.accessLog(), /127\.77\.0\.[0-9]+ - - .*POST \/api\/auth\/login HTTP/);
    });

    it("pass a body and its answer on whole, whatever the size", async () => {
      const body = Buffer.alloc(3_000_000, "x");
      assert.equal((await ask(shanghai, "/api/upload", { method: "PUT", body, from: newClient() })).status, 200);
      const big = await ask(shanghai, "/api/big", { from: newClient() });
      assert.equal((JSON.parse(big.body) as { text: string }).text.length, 4096);
      const zipped = await ask(shanghai, "/api/big", { from: newClient(), headers: { "Accept-Encoding": "gzip" } });
      assert.equal(zipped.headers["content-encoding"], "gzip");
      const secret = await ask(shanghai, "/api/auth/login", {
        from: newClient(),
        headers: { "Accept-Encoding": "gzip" },
      });
      assert.equal(secret.headers["content-encoding"], undefined);
      assert.equal((await ask(shanghai, "/api/status/418", { from: newClient() })).status, 418);
      assert.equal((await ask(shanghai, "/api/status/503", { from: newClient() })).headers["retry-after"], undefined);
    });

    it("keep their connections open, so that a request costs one way there and back", async () => {
      for (let i = 0; i < 30; i++)
        assert.equal((await ask(shanghai, "/api/users", { from: newClient() })).headers["x-iam-region"], "beijing");
      const open = connectionsTo(beijing.ports.peer);
      assert.ok(open >= 1 && open <= 4, `${open} connections between the edges`);
    });

    it("limit a client once, by its own address, whichever edge it comes by", async () => {
      const flood = newClient();
      // 10 a second, 20 at once: of 60 sent at once through both edges about 21 pass.
      const answers = await Promise.all(
        Array.from({ length: 60 }, (_, i) => ask(i % 2 ? beijing : shanghai, "/api/users", { from: flood })),
      );
      const passed = answers.filter(({ status }) => status === 200).length;
      const limited = answers.filter(({ status }) => status === 429);
      assert.equal(passed + limited.length, 60);
      assert.ok(passed >= 20 && passed <= 30, `${passed} of 60 passed`);
      const far = limited[0]!;
      assert.equal(far.headers["retry-after"], "1");
      assert.equal((JSON.parse(far.body) as { error: { code: string } }).error.code, "too_many_requests");
      assert.equal((await ask(shanghai, "/api/users", { from: newClient() })).status, 200, "others are not limited");
      const guesses = await Promise.all(
        Array.from({ length: 60 }, () =>
          ask(shanghai, "/api/auth/login", { from: newClientOf(flood), method: "POST" }),
        ),
      );
      const tried = guesses.filter(({ status }) => status === 200).length;
      assert.ok(tried >= 10 && tried <= 16, `${tried} logins of 60 passed`);
    });

    it("believe no header of a client", async () => {
      const from = newClient();
      const forged = { "X-Real-IP": "203.0.113.9", "X-Request-ID": "forged-by-the-client", "X-IAM-Region": "atlantis" };
      for (const edge of [beijing, shanghai]) {
        const answer = await ask(edge, "/api/users", { from, headers: forged });
        assert.deepEqual(answer.all("x-iam-region"), ["beijing"]);
        const { headers } = apis.beijing.seen.at(-1)!;
        assert.equal(headers["x-real-ip"], from);
        assert.notEqual(headers["x-request-id"], "forged-by-the-client");
      }
    });

    it("take what is passed on from edges alone", async () => {
      const direct = (folder: string | undefined, options: Partial<RequestOptions> = {}): Promise<Answer> => {
        const read = (file: string) => readFileSync(join(certificates, folder!, file));
        const agent = new https.Agent(folder ? { cert: read("tls.crt"), key: read("tls.key") } : {});
        return request("https", beijing.ports.peer, "/api/users", {
          host: `api.${DOMAIN}`,
          agent,
          headers: { "X-Real-IP": "203.0.113.9", "X-Request-ID": "0123456789abcdef" },
          ...options,
        });
      };
      const seen = apis.beijing.seen.length;
      assert.equal((await direct(undefined)).status, 400, "without a certificate");
      assert.equal((await direct("api")).status, 403, "with the certificate of another part");
      assert.equal(apis.beijing.seen.length, seen);
      const edge = await direct("edge-client-shanghai");
      assert.equal(edge.status, 200);
      assert.equal(edge.headers["x-request-id"], "0123456789abcdef");
      assert.equal(apis.beijing.seen.at(-1)!.headers["x-real-ip"], "203.0.113.9");
      // Nothing but the API is there.
      const other = await direct("edge-client-shanghai", { host: "evil.example.org" });
      assert.equal(other.status, 200);
    });

    it("ask clients for no certificate on the public port", async () => {
      assert.equal(await asksForCertificate(shanghai.ports.https, `api.${DOMAIN}`), false);
      assert.equal(await asksForCertificate(shanghai.ports.peer, hostOf("shanghai")), true);
    });
  });

  it("pass a request on once, even where each believes that the other is active", async () => {
    beijing = await start("beijing", UNLIMITED);
    shanghai = await start("shanghai", UNLIMITED);
    try {
      await routed(shanghai, toEdge("beijing", beijing.ports.peer), "beijing");
      await routed(beijing, toEdge("shanghai", shanghai.ports.peer), "shanghai");
      const seen = apis.beijing.seen.length + apis.shanghai.seen.length;
      for (let i = 0; i < 10; i++) {
        const [a, b] = await Promise.all([ask(shanghai, "/api/users"), ask(beijing, "/api/users")]);
        assert.deepEqual([a.status, a.headers["x-iam-region"]], [200, "beijing"]);
        assert.deepEqual([b.status, b.headers["x-iam-region"]], [200, "shanghai"]);
      }
      assert.equal(apis.beijing.seen.length + apis.shanghai.seen.length, seen + 20);
    } finally {
      await shanghai.stop();
      await beijing.stop();
    }
  });

  it("drop no request when the way changes under load", async () => {
    beijing = await start("beijing", UNLIMITED);
    shanghai = await start("shanghai", UNLIMITED);
    try {
      let stop = false;
      const answers: Answer[] = [];
      const client = async (method: string) => {
        while (!stop) answers.push(await ask(shanghai, "/api/slow/20", { method }));
      };
      const clients = ["GET", "GET", "GET", "POST", "POST"].map(client);
      for (let i = 0; i < 3; i++) {
        await routed(shanghai, toEdge("beijing", beijing.ports.peer), "beijing");
        await sleep(150);
        await routed(shanghai, LOCAL, "shanghai");
        await sleep(150);
      }
      stop = true;
      await Promise.all(clients);
      assert.deepEqual(new Set(answers.map(({ status }) => status)), new Set([200]));
      const regions = new Map<unknown, number>();
      for (const { headers } of answers)
        regions.set(headers["x-iam-region"], (regions.get(headers["x-iam-region"]) ?? 0) + 1);
      assert.ok(answers.length > 100 && regions.get("beijing")! > 20 && regions.get("shanghai")! > 20);
      assert.equal(regions.size, 2);
    } finally {
      await shanghai.stop();
      await beijing.stop();
    }
  });

  it("lose no GET when the other one reloads", async () => {
    beijing = await start("beijing", UNLIMITED);
    shanghai = await start("shanghai", UNLIMITED);
    try {
      await routed(shanghai, toEdge("beijing", beijing.ports.peer), "beijing");
      let stop = false;
      const statuses: number[] = [];
      const client = async () => {
        while (!stop) statuses.push((await ask(shanghai, "/api/slow/10")).status);
      };
      const clients = [client(), client(), client(), client()];
      for (const frame of ["SAMEORIGIN", "DENY", "SAMEORIGIN"]) {
        await beijing.change({ drainSeconds: 5, ...UNLIMITED, securityHeaders: { "X-Frame-Options": frame } });
        await until(async () => (await ask(beijing, "/api/users")).headers["x-frame-options"] === frame);
      }
      await until(() => Promise.resolve(statuses.length > 100));
      stop = true;
      await Promise.all(clients);
      assert.deepEqual(new Set(statuses), new Set([200]));
    } finally {
      await shanghai.stop();
      await beijing.stop();
    }
  });

  describe("the active one out of reach", () => {
    before(async () => {
      shanghai = await start("shanghai", { ...UNLIMITED, upstream: { readTimeoutSeconds: 1 } });
    });
    after(() => shanghai?.stop());

    /** Until an answer tells that the new route is in use. */
    async function timed(path: string, method = "GET"): Promise<Answer & { millis: number }> {
      const started = performance.now();
      const answer = await ask(shanghai, path, { method, timeoutMs: 20_000 });
      return { ...answer, millis: performance.now() - started };
    }
    const isUnavailable = (answer: Answer) => {
      assert.equal(answer.status, 503);
      assert.equal(answer.headers["retry-after"], "1");
      assert.equal(answer.headers["x-iam-region"], undefined);
      assert.equal(answer.headers["x-frame-options"], "DENY");
      assert.equal((JSON.parse(answer.body) as { error: { code: string } }).error.code, "unavailable");
    };
    /** Every other route is to an edge that answers in another way, so the wait for this one cannot end too early. */
    async function away(text: string): Promise<void> {
      await routed(shanghai, LOCAL, "shanghai");
      await changed(shanghai, text, ({ status }) => status === 503);
    }

    it("503 at once where its name never resolved or its port is closed", async () => {
      const [closed] = await freePorts(1);
      for (const addresses of [[], ["127.0.0.1"], ["127.0.0.1", "127.0.0.9"]]) {
        await away(toEdge("beijing", closed!, addresses));
        for (const method of ["GET", "POST"]) {
          const answer = await timed("/api/users", method);
          isUnavailable(answer);
          assert.ok(answer.millis < 1000, `${answer.millis} ms`);
        }
      }
    });

    it("503 within seconds where it does not answer, as behind a cut line", async () => {
      const silent = await SilentServer.start();
      try {
        await away(toEdge("beijing", silent.port));
        const answer = await timed("/api/auth/login", "POST");
        isUnavailable(answer);
        assert.ok(answer.millis > 1500 && answer.millis < 4000, `${answer.millis} ms`);
        assert.equal((await ask(shanghai, "/static/app.js")).status, 200, "what is local goes on");
      } finally {
        await silent.stop();
      }
    });

    it("503 where somebody else answers under its name", async () => {
      beijing = await start("beijing");
      try {
        // The name leads to Beijing, the certificate says so, and Shenzhen was meant.
        await away(toEdge("shenzhen", beijing.ports.peer));
        assert.match(await shanghai.errorLog(), /does not match "api-shenzhen/);
      } finally {
        await beijing.stop();
      }
    });

    it("502 and 504 where it took the request, which is not sent again", async () => {
      beijing = await start("beijing", UNLIMITED);
      try {
        await routed(shanghai, toEdge("beijing", beijing.ports.peer), "beijing");
        const seen = apis.beijing.seen.length;
        const broken = await timed("/api/break", "POST");
        assert.equal(broken.status, 502);
        assert.equal(apis.beijing.seen.length, seen + 1);
        const slow = timed("/api/slow/20000", "POST");
        await until(() => apis.beijing.seen.length === seen + 2);
        const answer = await slow;
        assert.equal(answer.status, 504);
        assert.equal(answer.headers["retry-after"], undefined);
        assert.equal(apis.beijing.seen.length, seen + 2);
        assert.ok(answer.millis < 8500, `${answer.millis} ms`);
      } finally {
        await beijing.stop();
      }
    });
  });
});

/** Connections to a port of this machine that stand or wait to be forgotten (TIME_WAIT). */
function connectionsTo(port: number): number {
  const suffix = `:${port.toString(16).toUpperCase().padStart(4, "0")}`;
  const lines = readFileSync("/proc/net/tcp", "utf8").split("\n").slice(1);
  return lines.filter((line) => {
    const [, , remote, state] = line.trim().split(/\s+/);
    return remote?.endsWith(suffix) && (state === "01" || state === "06");
  }).length;
}

/** Whether a server asks for a client's certificate, at which browsers that have one ask their user. */
async function asksForCertificate(port: number, host: string): Promise<boolean> {
  const call = promisify(execFile)("openssl", ["s_client", "-connect", `127.0.0.1:${port}`, "-servername", host], {
    timeout: 10_000,
  });
  call.child.stdin!.end();
  const { stdout } = await call;
  assert.match(stdout, /Cipher is/);
  return !stdout.includes("No client certificate CA names sent");
}

/** A second client in a range of its own, for another limit than the first. */
function newClientOf(client: string): string {
  return client.replace("127.77.", "127.78.");
}

/** Takes connections and never says a word: TCP stands, TLS never does. */
class SilentServer {
  readonly port: number;
  readonly #server: Server;

  private constructor(server: Server, port: number) {
    this.#server = server;
    this.port = port;
  }

  static async start(): Promise<SilentServer> {
    const [port] = await freePorts(1);
    const server = createServer((socket) => socket.on("error", () => undefined).resume());
    await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
    return new SilentServer(server, port!);
  }

  async stop(): Promise<void> {
    await new Promise((resolve) => {
      this.#server.close(resolve);
    });
  }
}

async function until(condition: () => boolean | Promise<boolean>, timeoutMs = 20_000): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`not within ${timeoutMs} ms: ${condition.toString()}`);
    await sleep(20);
  }
}

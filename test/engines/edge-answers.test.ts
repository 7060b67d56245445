import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import http2 from "node:http2";
import { tmpdir } from "node:os";
import { join } from "node:path";
import tls from "node:tls";
import { DOMAIN, HOST, makeCertificates, RunningEdge } from "../support/edge.ts";
import { FakeApi } from "../support/fake-api.ts";
import { request, type Answer, type RequestOptions } from "../support/request.ts";

const SECURITY = {
  "x-frame-options": "DENY",
  "x-content-type-options": "nosniff",
  "x-xss-protection": "1; mode=block",
};
const HSTS = "max-age=31536000; includeSubDomains";

/** Every header that the edge promises, once each. */
function assertSecurityHeaders(answer: Answer, overTls: boolean): void {
  for (const [name, value] of Object.entries(SECURITY))
    assert.deepEqual(answer.all(name), [value], `${name} of a ${answer.status}`);
  assert.deepEqual(answer.all("strict-transport-security"), overTls ? [HSTS] : [], `HSTS of a ${answer.status}`);
  assert.equal(answer.all("x-request-id").length, 1);
  assert.match(answer.headers["x-request-id"] as string, /^[0-9a-f]{32}$/);
  assert.equal(answer.headers.server, "nginx", "no version");
}

function assertJsonError(answer: Answer, status: number, code: string): void {
  assert.equal(answer.status, status);
  assert.equal(answer.headers["content-type"], "application/json");
  const { error } = JSON.parse(answer.body) as { error: { code: string; message: string; requestId: string } };
  assert.equal(error.code, code);
  assert.equal(error.requestId, answer.headers["x-request-id"]);
  assert.ok(error.message.length > 0);
  assertSecurityHeaders(answer, true);
}

/** Many requests at once, and how long they took: a limit lets more through the longer it takes. */
async function flood(count: number, ask: () => Promise<Answer>): Promise<{ answers: Answer[]; seconds: number }> {
  const began = performance.now();
  const answers = await Promise.all(Array.from({ length: count }, ask));
  return { answers, seconds: (performance.now() - began) / 1000 };
}

describe("what the edge answers", function () {
  this.timeout(60_000);
  let certificates: string;
  let api: FakeApi;
  let edge: RunningEdge;
  let ca: Buffer;
  let clients = 0;

  before(async function () {
    this.timeout(600_000); // the image may have to be built
    certificates = await mkdtemp(join(tmpdir(), "iam-ha-certificates-"));
    await makeCertificates(certificates);
    ca = readFileSync(join(certificates, "ca.crt"));
    api = await FakeApi.start({ address: "127.0.0.2", tls: join(certificates, "api") });
    edge = await RunningEdge.start(certificates, {
      upstream: { servers: ["127.0.0.2"], port: api.port, tls: true },
      settings: { serverNames: ["iam.example.org"] },
    });
  });
  after(async () => {
    await edge?.stop();
    await api?.kill();
    await rm(certificates, { recursive: true, force: true });
  });

  /** From an address of its own, so that no test meets another one's limit. */
  const newClient = () => {
    clients += 1;
    return `127.1.${clients >> 8}.${clients & 255}`;
  };
  const get = (path: string, options: Partial<RequestOptions> = {}) =>
    request("https", edge.ports.https, path, { host: HOST, ca, ...options, from: options.from ?? newClient() });
  const plain = (path: string, options: Partial<RequestOptions> = {}) =>
    request("http", edge.ports.http, path, { host: HOST, ...options, from: options.from ?? newClient() });

  it("passes requests on over TLS with its client certificate, and tells the API who asked", async () => {
    const from = newClient();
    const answer = await get("/api/users?limit=5", { from, headers: { Accept: "application/json" } });
    assert.equal(answer.status, 200);
    assert.deepEqual(JSON.parse(answer.body), { pod: "127.0.0.2" });
    assertSecurityHeaders(answer, true);
    const seen = api.seen.at(-1)!;
    assert.equal(seen.url, "/api/users?limit=5");
    assert.equal(seen.httpVersion, "1.1");
    assert.equal(seen.headers.host, HOST);
    assert.equal(seen.headers["x-real-ip"], from);
    assert.equal(seen.headers["x-forwarded-for"], from);
    assert.equal(seen.headers["x-forwarded-proto"], "https");
    assert.equal(seen.headers["x-forwarded-host"], HOST);
    assert.equal(seen.headers["x-request-id"], answer.headers["x-request-id"]);
  });

  it("drops what a client says of its own address", async () => {
    const from = newClient();
    const forged = {
      "X-Forwarded-For": "10.6.6.6",
      "X-Real-IP": "10.6.6.6",
      "X-Forwarded-Proto": "http",
      Forwarded: "for=10.6.6.6",
      "X-Request-ID": "forged-forged",
      "X-Forwarded-Host": "evil.example",
    };
    const answer = await get("/api/users", { from, headers: forged });
    assert.equal(answer.status, 200);
    const seen = JSON.stringify(api.seen.at(-1)!.headers);
    assert.doesNotMatch(seen, /10\.6\.6\.6|forged|evil/);
    assert.equal(api.seen.at(-1)!.headers["x-forwarded-for"], from);
    assert.doesNotMatch(answer.headers["x-request-id"] as string, /forged/);
  });

  it("serves the API 20 requests above the rate at once, then answers 429 with Retry-After", async () => {
    const from = newClient();
    const { answers, seconds } = await flood(100, () => get("/api/users", { from }));
    const served = answers.filter(({ status }) => status === 200).length;
    assert.ok(served >= 21 && served <= 21 + 10 * seconds + 1, `${served} of 100 were served in ${seconds} s`);
    const refused = answers.filter(({ status }) => status !== 200);
    assert.ok(refused.length > 0);
    for (const answer of refused) {
      assertJsonError(answer, 429, "too_many_requests");
      assert.equal(answer.headers["retry-after"], "1");
      assert.equal(answer.headers["cache-control"], "no-store");
    }
    assert.equal((await get("/api/users")).status, 200, "another client is not limited");
    assert.equal((await get("/static/a", { from })).status, 200, "and this one not elsewhere");
  });

  for (const path of [
    "/api/auth/login",
    "/api/auth/login/",
    "/api//auth/login",
    "/api/auth/%6cogin",
    "/api/x/../auth/login",
  ]) {
    it(`limits logins at ${path} to 10 above the rate`, async () => {
      const from = newClient();
      const login = () =>
        get(path, { from, method: "POST", body: "{}", headers: { "Content-Type": "application/json" } });
      const { answers, seconds } = await flood(60, login);
      const served = answers.filter(({ status }) => status === 200).length;
      assert.ok(served >= 11 && served <= 11 + 5 * seconds + 1, `${served} of 60 were served in ${seconds} s`);
      assert.ok(served < 60);
      for (const answer of answers.filter(({ status }) => status !== 200))
        assertJsonError(answer, 429, "too_many_requests");
    });
  }

  it("does not count a neighbour of the login path as a login", async () => {
    const from = newClient();
    const answers = await Promise.all(Array.from({ length: 18 }, () => get("/api/auth/login-history", { from })));
    assert.deepEqual(new Set(answers.map(({ status }) => status)), new Set([200]));
  });

  it("redirects plain HTTP to HTTPS on the same host, but only known hosts", async () => {
    for (const host of [DOMAIN, `api.${DOMAIN}`, HOST, "iam.example.org"]) {
      const answer = await plain("/api/users?a=1%2F2", { host });
      assert.equal(answer.status, 301);
      assert.equal(answer.headers.location, `https://${host}/api/users?a=1%2F2`);
      assertSecurityHeaders(answer, false);
    }
    for (const host of ["evil.example", `${HOST}.evil.example`, "127.0.0.1", "api-shanghai.iam.example.com"]) {
      const answer = await plain("/api/users", { host });
      assert.equal(answer.status, 421, host);
      assert.equal(answer.headers.location, undefined);
      assertSecurityHeaders(answer, false);
    }
  });

  it("answers 421 to unknown hosts over HTTPS, and passes nothing on", async () => {
    const before = api.seen.length;
    assertJsonError(await get("/api/users", { host: "evil.example", ca: undefined as never }), 421, "unknown_host");
    // A known name in TLS and another one in the request.
    assertJsonError(await get("/api/users", { headers: { Host: "evil.example" } }), 421, "unknown_host");
    assert.equal(api.seen.length, before);
  });

  it("answers /health itself, on both ports and for any host, and does not log it", async () => {
    for (const host of [HOST, "10.0.0.7"]) {
      for (const answer of [await plain("/health", { host }), await get("/health", { host, ca: undefined as never })]) {
        assert.equal(answer.status, 200);
        assert.equal(answer.body, "healthy\n");
        assert.deepEqual(answer.all("content-type"), ["text/plain"]);
      }
    }
    assertSecurityHeaders(await get("/health"), true);
    assertSecurityHeaders(await plain("/health"), false);
    await get("/api/marker");
    const log = await edge.accessLog();
    assert.match(log, /GET \/api\/marker/);
    assert.doesNotMatch(log, /\/health/);
  });

  it("has its probe's port and its figures apart from the public ports", async () => {
    const probe = await request("http", edge.ports.health, "/health", { host: "10.0.0.7" });
    assert.equal(probe.status, 200);
    assert.equal((await request("http", edge.ports.health, "/api/users", { host: HOST })).status, 404);
    const figures = await request("http", edge.ports.status, "/stub_status", { host: "localhost" });
    assert.match(figures.body, /^Active connections: \d+/);
    // On the pod's loopback address only; 127.0.0.9 is another one.
    await assert.rejects(fetch(`http://127.0.0.9:${edge.ports.status}/stub_status`));
  });

  it("lets clients keep what is under /static/ for a year, but not an error", async () => {
    const answer = await get("/static/app.js");
    assert.equal(answer.status, 200);
    assert.equal(answer.all("cache-control").join(", "), "max-age=31536000, public, immutable");
    const year = Date.parse(answer.headers.expires!) - Date.parse(answer.headers.date!);
    assert.equal(year, 31_536_000_000);
    assertSecurityHeaders(answer, true);
    const missing = await get("/static/missing");
    assert.equal(missing.status, 404);
    assert.deepEqual(missing.all("cache-control"), []);
    assert.match(missing.body, /of_the_api/);
    assertSecurityHeaders(missing, true);
  });

  it("passes the API's own errors on as they are", async () => {
    for (const status of [400, 404, 429, 500, 502, 503, 504]) {
      const answer = await get(`/api/status/${status}`);
      assert.equal(answer.status, status);
      assert.deepEqual(JSON.parse(answer.body), { error: { code: "of_the_api" } });
      assertSecurityHeaders(answer, true);
    }
    assert.equal((await get("/api/users")).status, 200, "and counts none of them as a pod's failure");
  });

  it("answers errors of its own in JSON, with all headers", async () => {
    assertJsonError(await get("/nothing/here.html"), 404, "not_found");
    const tooLarge = get("/api/upload", {
      method: "POST",
      headers: { "Content-Length": String(10 * 1024 * 1024 + 1), Expect: "100-continue" },
    });
    assertJsonError(await tooLarge, 413, "payload_too_large");
    assertJsonError(await get("/api/x", { headers: { "X-Large": "x".repeat(9000) } }), 431, "headers_too_large");
    assertJsonError(await get(`/api/${"x".repeat(9000)}`), 414, "uri_too_long");
    assertJsonError(await get("/api/x", { method: "TRACE" }), 405, "method_not_allowed");
    assertJsonError(
      await rawRequest(`POST /api/x HTTP/1.1\r\nHost: ${HOST}\r\nContent-Length: x\r\n\r\n`),
      400,
      "bad_request",
    );
    assertJsonError(await get("/.errors/429"), 404, "not_found");
    const notTls = await request("http", edge.ports.https, "/api/users", { host: HOST });
    assertJsonError(notTls, 400, "bad_request");
  });

  it("takes a body of 10 MB, and one of more than a proxy buffer back", async () => {
    const answer = await get("/api/upload", { method: "POST", body: Buffer.alloc(10 * 1024 * 1024, 120) });
    assert.equal(answer.status, 200);
    const big = await get("/api/big");
    assert.equal((JSON.parse(big.body) as { text: string }).text.length, 4096);
  });

  it("compresses what is large enough, but never a login's response", async () => {
    const big = await get("/api/big", { headers: { "Accept-Encoding": "gzip" } });
    assert.equal(big.headers["content-encoding"], "gzip");
    assert.match(big.headers.vary!, /Accept-Encoding/);
    const small = await get("/api/users", { headers: { "Accept-Encoding": "gzip" } });
    assert.equal(small.headers["content-encoding"], undefined);
    const login = await bigLogin();
    assert.equal(login.status, 200);
    assert.ok(login.body.length > 4096);
    assert.equal(login.headers["content-encoding"], undefined);
  });

  it("speaks TLS 1.2 and 1.3 and nothing older, without tickets", async () => {
    assert.equal((await handshake({ maxVersion: "TLSv1.2" })).protocol, "TLSv1.2");
    assert.equal((await handshake({})).protocol, "TLSv1.3");
    await assert.rejects(handshake({ minVersion: "TLSv1.1", maxVersion: "TLSv1.1", ciphers: "DEFAULT@SECLEVEL=0" }));
    await assert.rejects(
      handshake({ maxVersion: "TLSv1.2", ciphers: "AES128-SHA" }),
      "no cipher without forward secrecy",
    );
    assert.equal((await handshake({ maxVersion: "TLSv1.2" })).ticket, undefined);
  });

  it("speaks HTTP/2", async () => {
    const session = http2.connect(`https://127.0.0.1:${edge.ports.https}`, { ca, servername: HOST });
    try {
      const stream = session.request({ ":path": "/api/users", ":authority": HOST });
      const headers = await new Promise<http2.IncomingHttpHeaders>((resolve, reject) => {
        stream.once("response", resolve);
        stream.once("error", reject);
        session.once("error", reject);
      });
      assert.equal(headers[":status"], 200);
      assert.equal(headers["x-frame-options"], "DENY");
      assert.equal(session.alpnProtocol, "h2");
    } finally {
      session.destroy();
    }
  });

  it("logs the design's fields", async () => {
    const from = newClient();
    await get("/api/logged", { from, headers: { "User-Agent": "tester/1.0", Referer: "https://iam.example.com/" } });
    const line = (await edge.accessLog()).split("\n").find((text) => text.includes("/api/logged"))!;
    assert.match(
      line,
      new RegExp(
        `^${from.replaceAll(".", "\\.")} - - \\[.+\\] "GET /api/logged HTTP/1\\.1" 200 \\d+ "https://iam\\.example\\.com/" "tester/1\\.0" "-" ` +
          `rt=\\d\\.\\d{3} uct="\\d\\.\\d{3}" uht="\\d\\.\\d{3}" urt="\\d\\.\\d{3}" rid=[0-9a-f]{32}$`,
      ),
    );
  });

  it("met nothing that an operator would have to see to", async () => {
    assert.doesNotMatch(await edge.errorLog(), /\[(crit|alert|emerg)\]/);
  });

  it("passes NGINX's own check in every mode", async function () {
    this.timeout(60_000);
    const upstream = { servers: ["127.0.0.2"], port: api.port, tls: false };
    const variants: unknown[] = [
      {
        log: { format: "json", level: "error" },
        gzip: { level: 0 },
        ipv6: true,
        limits: { api: { burst: 0 }, login: { burst: 0 } },
      },
      {
        clientAddress: { mode: "proxy-protocol", trusted: ["10.0.0.0/8", "2001:db8::/32"] },
        tls: { protocols: ["TLSv1.3"], hstsIncludeSubDomains: false },
      },
      {
        clientAddress: { mode: "x-forwarded-for", trusted: ["192.0.2.1/32"] },
        serverNames: [`${"a".repeat(63)}.`.repeat(3) + "b".repeat(60)],
      },
      {
        securityHeaders: { "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'" },
        publicHttpsPort: 8443,
        staticMaxAgeSeconds: 0,
      },
    ];
    for (const settings of variants) {
      // That it starts is the check.
      const other = await RunningEdge.start(certificates, { upstream, settings });
      const log = await other.errorLog();
      await other.stop();
      assert.doesNotMatch(log, /\[(warn|error|crit|alert|emerg)\]/, JSON.stringify(settings));
    }
  });

  async function bigLogin(): Promise<Answer> {
    const settings = { loginPaths: ["/api/big"] };
    const other = await RunningEdge.start(certificates, {
      upstream: { servers: ["127.0.0.2"], port: api.port, tls: true },
      settings,
    });
    try {
      return await request("https", other.ports.https, "/api/big", {
        host: HOST,
        ca,
        headers: { "Accept-Encoding": "gzip" },
      });
    } finally {
      await other.stop();
    }
  }

  /** Text of a request as it is, over TLS. */
  function rawRequest(text: string): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const socket = tls.connect(
        { port: edge.ports.https, host: "127.0.0.1", servername: HOST, ca, ALPNProtocols: ["http/1.1"] },
        () => socket.write(text),
      );
      const chunks: Buffer[] = [];
      socket.setTimeout(5000, () => socket.destroy(new Error("no answer")));
      socket.on("data", (chunk: Buffer) => chunks.push(chunk));
      socket.once("error", reject);
      socket.once("end", () => {
        const all = Buffer.concat(chunks).toString();
        const [head = "", body = ""] = all.split("\r\n\r\n");
        const [statusLine = "", ...lines] = head.split("\r\n");
        const pairs = lines.map(
          (line) => [line.slice(0, line.indexOf(":")).toLowerCase(), line.slice(line.indexOf(":") + 2)] as const,
        );
        resolve({
          status: Number(statusLine.split(" ")[1]),
          headers: Object.fromEntries(pairs),
          all: (name) => pairs.filter(([key]) => key === name.toLowerCase()).map(([, value]) => value),
          body,
        });
        socket.destroy();
      });
    });
  }

  function handshake(options: tls.ConnectionOptions): Promise<{ protocol: string | null; ticket: Buffer | undefined }> {
    return new Promise((resolve, reject) => {
      const socket = tls.connect(
        { port: edge.ports.https, host: "127.0.0.1", servername: HOST, ca, ...options },
        () => {
          resolve({ protocol: socket.getProtocol(), ticket: socket.getTLSTicket() });
          socket.destroy();
        },
      );
      socket.once("error", reject);
    });
  }
});

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import tls from "node:tls";
import { HOST, makeCertificates, RunningEdge } from "../support/edge.ts";
import { FakeApi } from "../support/fake-api.ts";
import { request } from "../support/request.ts";

/** Where the load balancer stands, whose word is believed, and a stranger whose word is not. */
const BALANCER = "127.3.0.1";
const STRANGER = "127.4.0.1";
const TRUSTED = ["127.3.0.0/16"];

describe("the client's address behind a load balancer", function () {
  this.timeout(60_000);
  let certificates: string;
  let api: FakeApi;
  let edge: RunningEdge | undefined;

  before(async function () {
    this.timeout(600_000);
    certificates = await mkdtemp(join(tmpdir(), "iam-ha-certificates-"));
    await makeCertificates(certificates);
    api = await FakeApi.start({ address: "127.0.0.2" });
  });
  after(async () => {
    await api?.kill();
    await rm(certificates, { recursive: true, force: true });
  });
  afterEach(async () => {
    await edge?.stop();
    edge = undefined;
  });

  async function start(clientAddress: object): Promise<void> {
    edge = await RunningEdge.start(certificates, {
      upstream: { servers: ["127.0.0.2"], port: api.port, tls: false },
      settings: { clientAddress },
    });
  }

  describe("by X-Forwarded-For", () => {
    const ask = (from: string, headers: Record<string, string>) =>
      request("https", edge!.ports.https, "/api/users", { host: HOST, from, headers });

    it("is read past the trusted proxies, and the one of the limit and of the API", async () => {
      await start({ mode: "x-forwarded-for", trusted: TRUSTED });
      const flood = await Promise.all(
        Array.from({ length: 100 }, () => ask(BALANCER, { "X-Forwarded-For": "203.0.113.7, 127.3.9.9" })),
      );
      assert.ok(flood.some(({ status }) => status === 429));
      assert.equal(api.seen.at(-1)!.headers["x-forwarded-for"], "203.0.113.7");
      const other = await ask(BALANCER, { "X-Forwarded-For": "203.0.113.8" });
      assert.equal(other.status, 200, "another client through the same balancer is not limited");
      assert.equal(api.seen.at(-1)!.headers["x-real-ip"], "203.0.113.8");
    });

    it("is not what a client put in front", async () => {
      await start({ mode: "x-forwarded-for", trusted: TRUSTED });
      // The balancer appends; what stands to the left of that came from the client.
      await ask(BALANCER, { "X-Forwarded-For": "10.6.6.6, 203.0.113.9" });
      assert.equal(api.seen.at(-1)!.headers["x-forwarded-for"], "203.0.113.9");
      const flood = await Promise.all(
        Array.from({ length: 100 }, (_, i) => ask(STRANGER, { "X-Forwarded-For": `198.51.100.${i}` })),
      );
      assert.ok(
        flood.some(({ status }) => status === 429),
        "a stranger's header does not help it around the limit",
      );
      assert.equal(api.seen.at(-1)!.headers["x-forwarded-for"], STRANGER);
    });

    it("takes over a request's id from a trusted proxy alone, and only one that looks like one", async () => {
      await start({ mode: "x-forwarded-for", trusted: TRUSTED });
      const id = "0f8fad5b-d9cb-469f-a165-70867728950e";
      assert.equal((await ask(BALANCER, { "X-Request-ID": id })).headers["x-request-id"], id);
      assert.equal(api.seen.at(-1)!.headers["x-request-id"], id);
      assert.match((await ask(STRANGER, { "X-Request-ID": id })).headers["x-request-id"] as string, /^[0-9a-f]{32}$/);
      assert.match(
        (await ask(BALANCER, { "X-Request-ID": 'a"},{"b' })).headers["x-request-id"] as string,
        /^[0-9a-f]{32}$/,
      );
    });
  });

  describe("by the PROXY protocol", () => {
    /** One request over TLS in a connection that begins with a PROXY header. */
    async function ask(from: string, client: string): Promise<number> {
      const tcp = await dial(from, edge!.ports.https);
      tcp.write(`PROXY TCP4 ${client} 192.0.2.1 50000 443\r\n`);
      return statusOf(
        tls.connect({
          socket: tcp,
          servername: HOST,
          ca: readFileSync(join(certificates, "ca.crt")),
          ALPNProtocols: ["http/1.1"],
        }),
      );
    }

    it("is the one of the limit and of the API", async () => {
      await start({ mode: "proxy-protocol", trusted: TRUSTED });
      const flood = await Promise.all(Array.from({ length: 100 }, () => ask(BALANCER, "203.0.113.7")));
      assert.deepEqual(new Set(flood), new Set([200, 429]));
      assert.equal(api.seen.at(-1)!.headers["x-forwarded-for"], "203.0.113.7");
      assert.equal(await ask(BALANCER, "203.0.113.8"), 200, "another client through the same balancer is not limited");
      assert.equal(api.seen.at(-1)!.headers["x-forwarded-for"], "203.0.113.8");
    });

    it("is the connection's own where a stranger sends the header", async () => {
      await start({ mode: "proxy-protocol", trusted: TRUSTED });
      const flood = await Promise.all(Array.from({ length: 100 }, (_, i) => ask(STRANGER, `198.51.100.${i}`)));
      assert.deepEqual(new Set(flood), new Set([200, 429]));
      assert.equal(api.seen.at(-1)!.headers["x-forwarded-for"], STRANGER);
    });

    it("is demanded on the public ports and not for probes", async () => {
      await start({ mode: "proxy-protocol", trusted: TRUSTED });
      await assert.rejects(request("https", edge!.ports.https, "/health", { host: HOST }));
      await assert.rejects(request("http", edge!.ports.http, "/health", { host: HOST }));
      assert.equal((await request("http", edge!.ports.health, "/health", { host: HOST })).status, 200);
      const tcp = await dial(BALANCER, edge!.ports.http);
      tcp.write("PROXY TCP4 203.0.113.7 192.0.2.1 50000 80\r\n");
      assert.equal(await statusOf(tcp, "/health"), 200);
    });
  });
});

function dial(from: string, port: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: "127.0.0.1", port, localAddress: from }, () => resolve(socket));
    socket.once("error", reject);
  });
}

/** Sends a request on a connection and gives the status of what comes back. */
function statusOf(socket: Socket, path = "/api/users"): Promise<number> {
  return new Promise((resolve, reject) => {
    let text = "";
    socket.setTimeout(10_000, () => socket.destroy(new Error("no answer in time")));
    socket.on("data", (chunk: Buffer) => (text += chunk.toString()));
    socket.once("error", reject);
    socket.once("close", () => resolve(Number(text.split(" ")[1])));
    socket.write(`GET ${path} HTTP/1.1\r\nHost: ${HOST}\r\nConnection: close\r\n\r\n`);
  });
}

import assert from "node:assert/strict";
import { spawn, type ChildProcess } from "node:child_process";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import type { IncomingHttpHeaders } from "node:http";
import { Agent, request } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { issueCertificate, makeAuthority } from "../support/certificates.ts";
import { imageRoot } from "../support/image-root.ts";
import { TestPostgres } from "../support/postgres.ts";
import { TestRedis } from "../support/test-redis.ts";
import { freePorts } from "../support/sockets.ts";

const PASSWORDS = { database: "database_password_1", redis: "redis_password_12345", admin: "administrator_pass_1" };

/** What of the answers the tests look at. */
interface Body {
  error: { code: string; requestId: string };
  token: string;
  user: { username: string };
  users: { username: string }[];
  next: string | null;
  status: string;
}

interface Answer {
  status: number;
  headers: IncomingHttpHeaders;
  body: Body;
  text: string;
}

describe("the reference API with real PostgreSQL and Redis", function () {
  this.timeout(60_000);
  let dir: string;
  let postgres: TestPostgres;
  let redis: TestRedis;
  let api: ChildProcess;
  let log = "";
  let port: number;
  let env: Record<string, string>;
  let edge: Agent;
  let stranger: Agent;

  before(async function () {
    this.timeout(15 * 60_000);
    const [postgresRoot, redisRoot] = [await imageRoot("postgres"), await imageRoot("redis")];
    dir = await mkdtemp(join(tmpdir(), "test-api-"));
    for (const part of ["ca", "tls", "edge", "secrets"]) await mkdir(join(dir, part));
    await makeAuthority(join(dir, "ca"));
    await issueCertificate(join(dir, "ca"), join(dir, "tls"), ["iam-api", "localhost"]);
    await issueCertificate(join(dir, "ca"), join(dir, "edge"), ["edge-client"]);
    for (const [name, value] of Object.entries(PASSWORDS)) await writeFile(join(dir, "secrets", name), `${value}\n`);
    const [apiPort, postgresPort, redisPort] = await freePorts(3);
    port = apiPort!;
    const ca = await readFile(join(dir, "ca", "ca.crt"));
    const client = async (folder: string) => ({
      cert: await readFile(join(dir, folder, "tls.crt")),
      key: await readFile(join(dir, folder, "tls.key")),
    });
    edge = new Agent({ ca, servername: "iam-api", keepAlive: true, ...(await client("edge")) });
    stranger = new Agent({ ca, servername: "iam-api", ...(await client("tls")) });
    redis = await TestRedis.start(redisRoot, join(dir, "ca"), redisPort!, "iam", PASSWORDS.redis);
    env = {
      REGION: "test",
      SERVER_ID: "iam-api-1",
      PORT: String(port),
      TLS_CERT_FILE: join(dir, "tls", "tls.crt"),
      TLS_KEY_FILE: join(dir, "tls", "tls.key"),
      CA_FILE: join(dir, "ca", "ca.crt"),
      DATABASE_HOST: "localhost",
      DATABASE_PORT: String(postgresPort),
      DATABASE_WRITE: "iam",
      DATABASE_READ: "iam",
      DATABASE_USER: "iam_app",
      DATABASE_PASSWORD_FILE: join(dir, "secrets", "database"),
      REDIS_HOST: "localhost",
      REDIS_PORT: String(redisPort),
      REDIS_USER: "iam",
      REDIS_PASSWORD_FILE: join(dir, "secrets", "redis"),
      ADMIN_PASSWORD_FILE: join(dir, "secrets", "admin"),
      HEALTH_DATABASE_TIMEOUT_MILLIS: "2000",
      HEALTH_REDIS_TIMEOUT_MILLIS: "2000",
      DRAIN_SECONDS: "2",
    };
    // The database comes last: the API has to answer before.
    startApi();
    await eventually("the process answers", 15_000, async () => (await get("/health/live")).status === 200);
    assert.equal((await get("/health/ready")).status, 503);
    assert.equal((await get("/health/db")).status, 503);
    postgres = await TestPostgres.start({
      root: postgresRoot,
      address: "127.0.0.1",
      port: postgresPort!,
      authority: join(dir, "ca"),
      dnsNames: ["localhost"],
    });
    await postgres.psql(`create role iam_app login password '${PASSWORDS.database}'`);
    await postgres.psql("create database iam owner iam_app");
    await eventually("the schema is there", 20_000, async () => (await get("/health/ready")).status === 200);
  });

  after(async () => {
    api?.kill("SIGKILL");
    edge?.destroy();
    stranger?.destroy();
    await redis?.stop();
    await postgres?.stop();
    if (dir) await rm(dir, { recursive: true, force: true });
  });

  function startApi(changes: Record<string, string> = {}): void {
    api = spawn(process.execPath, ["examples/reference-api/src/main.ts"], {
      env: { ...env, ...changes },
      stdio: ["ignore", "pipe", "pipe"],
    });
    for (const stream of [api.stdout, api.stderr]) stream?.on("data", (chunk: Buffer) => (log += chunk.toString()));
  }

  function call(
    method: string,
    path: string,
    options: { body?: unknown; token?: string; headers?: Record<string, string>; agent?: Agent } = {},
  ): Promise<Answer> {
    const { body, token, headers, agent = edge } = options;
    const payload = body === undefined ? undefined : typeof body === "string" ? body : JSON.stringify(body);
    return new Promise((resolve, reject) => {
      const sent = request(
        {
          host: "localhost",
          port,
          path,
          method,
          agent,
          timeout: 20_000,
          headers: {
            ...(payload === undefined ? {} : { "content-type": "application/json" }),
            ...(token ? { authorization: `Bearer ${token}` } : {}),
            ...headers,
          },
        },
        (response) => {
          let text = "";
          response.on("data", (chunk: Buffer) => (text += chunk.toString()));
          response.on("error", reject);
          response.on("end", () => {
            const json = response.headers["content-type"]?.includes("json") && text !== "";
            resolve({
              status: response.statusCode!,
              headers: response.headers,
              text,
              body: json ? (JSON.parse(text) as Body) : ({} as Body),
            });
          });
        },
      );
      sent.on("error", reject);
      sent.on("timeout", () => sent.destroy(new Error("no answer within 20 s")));
      sent.end(payload);
    });
  }
  const get = (path: string, options: Parameters<typeof call>[2] = {}) => call("GET", path, options);
  const login = (username: string, password: string) =>
    call("POST", "/api/auth/login", { body: { username, password } });

  async function eventually(what: string, timeoutMs: number, attempt: () => Promise<boolean>): Promise<void> {
    const end = Date.now() + timeoutMs;
    while (Date.now() < end) {
      if (await attempt().catch(() => false)) return;
      await sleep(100);
    }
    throw new Error(`not within ${timeoutMs} ms: ${what}\n${log.slice(-3000)}`);
  }

  it("lets the edge in by its certificate, others only to health, also on a resumed TLS session", async () => {
    for (let i = 0; i < 3; i++) assert.equal((await get("/static/hello.txt", { agent: edge })).status, 200);
    const resuming = new Agent({
      ca: edge.options.ca,
      cert: edge.options.cert,
      key: edge.options.key,
      servername: "iam-api",
    });
    for (let i = 0; i < 3; i++) assert.equal((await get("/static/hello.txt", { agent: resuming })).status, 200);
    const nobody = new Agent({ ca: edge.options.ca, servername: "iam-api" });
    for (const agent of [stranger, nobody]) {
      for (const path of ["/static/hello.txt", "/api/users", "/healthy", "/nothing"]) {
        const refused = await get(path, { agent });
        assert.equal(refused.status, 403, path);
        assert.equal(refused.body.error.code, "client_certificate_required");
      }
      for (const path of ["/health", "/health/live", "/health/ready"])
        assert.equal((await get(path, { agent })).status, 200, path);
    }
  });

  it("logs in, knows the session, and forgets it after logout", async () => {
    const answer = await login("admin", PASSWORDS.admin);
    assert.equal(answer.status, 200, answer.text);
    const token = answer.body.token;
    assert.match(token, /^[0-9a-f]{4}\.[A-Za-z0-9_-]{43}$/);
    assert.match(
      answer.headers["set-cookie"]![0]!,
      /^iam_session=[^;]+; Path=\/; Max-Age=3600; Secure; HttpOnly; SameSite=Strict$/,
    );
    assert.equal(answer.headers["x-served-by-role"], "primary");
    const byToken = await get("/api/auth/session", { token });
    assert.equal(byToken.body.user.username, "admin");
    const byCookie = await get("/api/auth/session", { headers: { cookie: `a=b; iam_session=${token}` } });
    assert.equal(byCookie.status, 200);

    const [tag, random] = token.split(".");
    const key = `session:{${tag}}.${random}`;
    const ttl = Number(await redis.cli("ttl", key));
    assert.ok(ttl > 3590 && ttl <= 3600, String(ttl));
    assert.equal(await redis.cli("get", `user_session:{${tag}}.1`), token);
    assert.match(await redis.cli("zrange", "server_sessions:{iam-api-1}", "0", "-1"), new RegExp(random!));

    assert.equal((await call("POST", "/api/auth/logout", { token })).status, 204);
    assert.equal((await get("/api/auth/session", { token })).status, 401);
    assert.equal(await redis.cli("exists", key), "0");
    assert.equal(await redis.cli("exists", `user_session:{${tag}}.1`), "0");
    assert.doesNotMatch(await redis.cli("zrange", "server_sessions:{iam-api-1}", "0", "-1"), new RegExp(random!));
  });

  it("keeps a user's later session when an earlier one ends", async () => {
    const first = (await login("admin", PASSWORDS.admin)).body.token;
    const second = (await login("admin", PASSWORDS.admin)).body.token;
    await call("POST", "/api/auth/logout", { token: first });
    assert.equal((await get("/api/auth/session", { token: second })).status, 200);
    assert.equal(await redis.cli("get", `user_session:{${second.slice(0, 4)}}.1`), second);
  });

  it("refuses wrong passwords and unknown users alike, in like time", async () => {
    const time = async (username: string) => {
      const begin = performance.now();
      const answer = await login(username, "not_the_password");
      assert.equal(answer.status, 401);
      assert.equal(answer.body.error.code, "bad_credentials");
      return performance.now() - begin;
    };
    await time("admin");
    const known = Math.min(await time("admin"), await time("admin"), await time("admin"));
    const unknown = Math.min(await time("nobody"), await time("nobody"), await time("nobody"));
    // A missing hash would make one of them many times faster; the machine may be busy.
    assert.ok(unknown > known / 3 && known > unknown / 3, `${known} ms, ${unknown} ms`);
  });

  it("makes and lists users, and says which server answered", async () => {
    const token = (await login("admin", PASSWORDS.admin)).body.token;
    const made = await call("POST", "/api/users", {
      token,
      body: { username: "li.wei", password: "correct-horse-battery" },
    });
    assert.equal(made.status, 201, made.text);
    const again = await call("POST", "/api/users", {
      token,
      body: { username: "li.wei", password: "correct-horse-battery" },
    });
    assert.equal(again.status, 409);
    const list = await get("/api/users?limit=1", { token });
    assert.deepEqual(
      list.body.users.map((user) => user.username),
      ["admin"],
    );
    const rest = await get(`/api/users?after=${list.body.next}&consistency=primary`, { token });
    assert.deepEqual(
      rest.body.users.map((user) => user.username),
      ["li.wei"],
    );
    assert.equal(rest.headers["x-served-by-role"], "primary");
    assert.equal(rest.headers["x-database-node"], "127.0.0.1");
    assert.doesNotMatch(list.text + rest.text + made.text, /hash|scrypt/);

    const own = (await login("li.wei", "correct-horse-battery")).body.token;
    assert.equal((await get("/api/users", { token: own })).status, 200);
    const forbidden = await call("POST", "/api/users", {
      token: own,
      body: { username: "x1", password: "correct-horse-battery" },
    });
    assert.equal(forbidden.status, 403);
    assert.equal((await get("/api/users")).status, 401);
    assert.equal((await get("/api/users", { token: "../../etc" })).status, 401);
  });

  it("refuses what is not valid with a code, and never with a 500", async () => {
    const token = (await login("admin", PASSWORDS.admin)).body.token;
    const bad: [string, string, unknown][] = [
      ["POST", "/api/auth/login", {}],
      ["POST", "/api/auth/login", "{"],
      ["POST", "/api/auth/login", { username: "admin", password: "x", more: 1 }],
      ["POST", "/api/auth/login", { username: "a\nb", password: "x" }],
      ["POST", "/api/auth/login", { username: "admin", password: "x".repeat(300) }],
      ["POST", "/api/users", { username: "short", password: "short" }],
      ["POST", "/api/users", { username: "x", password: "correct-horse-battery", role: "root" }],
      ["GET", "/api/users?limit=101", undefined],
      ["GET", "/api/users?after=1%20or%201=1", undefined],
      ["GET", "/api/users?unknown=1", undefined],
    ];
    for (const [method, path, body] of bad) {
      const answer = await call(method, path, { token, ...(body === undefined ? {} : { body }) });
      assert.equal(answer.status, 400, `${method} ${path} ${JSON.stringify(body)}: ${answer.text}`);
      assert.ok(answer.body.error.code);
      assert.equal(answer.body.error.requestId, answer.headers["x-request-id"]);
    }
    const unknown = await get("/nothing", { headers: { "x-request-id": "0123456789abcdef" } });
    assert.equal(unknown.status, 404);
    assert.equal(unknown.body.error.requestId, "0123456789abcdef");
    assert.equal(
      (await call("POST", "/api/auth/login", { body: { username: "admin", password: "x".repeat(70_000) } })).status,
      413,
    );
  });

  it("says unhealthy within its time-out while Redis hangs, stays alive, and recovers", async () => {
    const token = (await login("admin", PASSWORDS.admin)).body.token;
    redis.signal("SIGSTOP");
    const begin = Date.now();
    const health = await get("/health/redis");
    assert.equal(health.status, 503);
    assert.equal(health.body.status, "unhealthy");
    assert.ok(Date.now() - begin < 2500);
    assert.equal((await get("/health/live")).status, 200);
    assert.equal((await get("/health/ready")).status, 200);
    const refused = await get("/api/auth/session", { token });
    assert.equal(refused.status, 503);
    assert.equal(refused.body.error.code, "unavailable");
    redis.signal("SIGCONT");
    await eventually(
      "the session again",
      15_000,
      async () => (await get("/api/auth/session", { token })).status === 200,
    );
    assert.equal((await get("/health/redis")).body.status, "healthy");
  });

  it("says unhealthy while the database is away, and goes on with new connections when it is back", async () => {
    const token = (await login("admin", PASSWORDS.admin)).body.token;
    await postgres.kill();
    const health = await get("/health/db");
    assert.equal(health.status, 503);
    assert.deepEqual(Object.keys(health.body).sort(), ["details", "lastCheck", "responseTime", "service", "status"]);
    assert.equal((await get("/api/users", { token })).status, 503);
    assert.equal((await login("admin", PASSWORDS.admin)).status, 503);
    assert.equal((await get("/health/ready")).status, 200);
    await postgres.resume();
    await eventually("users again", 15_000, async () => (await get("/api/users", { token })).status === 200);
    assert.equal((await get("/health/db")).body.status, "healthy");
  });

  it("gives up a connection to a server that has become read-only", async () => {
    const token = (await login("admin", PASSWORDS.admin)).body.token;
    const backends = () =>
      postgres.psql("select coalesce(max(backend_start)::text, '') from pg_stat_activity where usename = 'iam_app'");
    const before = await backends();
    await postgres.psql("alter role iam_app set default_transaction_read_only = on");
    await postgres.psql("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'iam_app'");
    await sleep(300);
    const body = { username: "during", password: "correct-horse-battery" };
    assert.equal((await call("POST", "/api/users", { token, body })).status, 503);
    await postgres.psql("alter role iam_app reset default_transaction_read_only");
    // The pooled connection would still be read-only: only a new one can succeed.
    assert.equal((await call("POST", "/api/users", { token, body })).status, 201);
    assert.notEqual(await backends(), before);
  });

  it("is ready in a standby region: reads and logins go on, writes are 503 and say when to come again", async () => {
    const stopApi = async () => {
      const ended = new Promise((resolve) => api.once("exit", resolve));
      api.kill("SIGKILL");
      await ended;
    };
    const [standbyPort] = await freePorts(1);
    const standby = await TestPostgres.start({ ...postgres.options, port: standbyPort!, primary: postgres });
    try {
      await stopApi();
      startApi({ DATABASE_PORT: String(standbyPort) });
      await eventually("ready", 20_000, async () => (await get("/health/ready")).status === 200);
      assert.equal((await get("/health")).status, 200);
      assert.equal((await get("/health/db")).status, 200);
      const admin = await login("admin", PASSWORDS.admin);
      assert.equal(admin.status, 200, admin.text);
      const { token } = admin.body;
      const list = await get("/api/users?limit=1", { token });
      assert.deepEqual([list.status, list.headers["x-served-by-role"]], [200, "replica"]);
      const body = { username: "elsewhere", password: "correct-horse-battery" };
      const refused = await call("POST", "/api/users", { token, body });
      assert.deepEqual(
        [refused.status, refused.headers["retry-after"], refused.body.error.code],
        [503, "1", "unavailable"],
      );
    } finally {
      await stopApi();
      await standby.stop();
      startApi();
      await eventually("ready again", 20_000, async () => (await get("/health/ready")).status === 200);
    }
  });

  it("answers what it has begun on SIGTERM, is no longer ready, and ends by itself", async () => {
    const ended = new Promise<number | null>((resolve) => api.once("exit", resolve));
    const begin = Date.now();
    api.kill("SIGTERM");
    await sleep(300);
    const ready = await get("/health/ready");
    assert.equal(ready.status, 503);
    const late = await get("/static/hello.txt");
    assert.equal(late.status, 200);
    assert.equal(late.headers["connection"], "close");
    assert.equal(await Promise.race([ended, sleep(10_000).then(() => "late")]), 0);
    assert.ok(Date.now() - begin < 5000);
  });

  it("starts again on the same schema, and has logged no secret", async () => {
    startApi();
    await eventually("ready", 20_000, async () => (await get("/health/ready")).status === 200);
    assert.equal((await login("admin", PASSWORDS.admin)).status, 200);
    assert.equal(await postgres.psql("select count(*) from users where username = 'admin'", "iam"), "1");
    assert.ok(log.length > 1000);
    for (const secret of Object.values(PASSWORDS)) assert.ok(!log.includes(secret));
    assert.doesNotMatch(log, /correct-horse|scrypt|[0-9a-f]{4}\.[A-Za-z0-9_-]{43}/);
  });
});

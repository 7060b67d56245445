import assert from "node:assert/strict";
import type { ChildProcess } from "node:child_process";
import { chmod, chown, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import {
  haproxyCfg,
  hbaConf,
  pgbouncerIni,
  POOLER_LOOPBACK,
  POOLER_PATHS,
  STATS_USER,
  userlist,
  type PoolerPlan,
} from "../../components/pooler/plan.ts";
import { PGBOUNCER_ALIVE, RELOAD_ON_CHANGE } from "../../components/pooler/scripts.ts";
import { poolerSettings } from "../../components/pooler/settings.ts";
import { issueCertificate, makeAuthority } from "../support/certificates.ts";
import { endOf, imageRoot, IMAGE_UID, runInImage, spawnInImage } from "../support/image-root.ts";
import { TestPostgres } from "../support/postgres.ts";
import { freePorts, TestDns } from "../support/sockets.ts";

const DNS = "127.0.7.53";
const ADDRESSES = ["127.0.7.1", "127.0.7.2"] as const;
const HOSTS = ADDRESSES.map((_, i) => `postgresql-test-${i}.postgresql-nodes.iam.svc.cluster.test`);
const PASSWORD = "application_password_1";
const STATS_PASSWORD = "statistics_password_1";

type Role = "primary" | "replica" | "standby-leader" | "unfit";

/** What Patroni would answer on the paths that the pooler asks for. */
function statusOf(role: Role, path: string): number {
  if (path === "/primary") return role === "primary" ? 200 : 503;
  if (path === "/leader") return role === "primary" || role === "standby-leader" ? 200 : 503;
  if (path === "/replica?lag=16777216") return role === "replica" ? 200 : 503;
  return 404;
}

describe("the pooler with real PgBouncer, HAProxy and PostgreSQL", function () {
  this.timeout(60_000);
  let dir: string;
  let dns: TestDns;
  let root: string;
  let plan: PoolerPlan;
  let roles: Role[];
  const patronis: Server[] = [];
  const servers: TestPostgres[] = [];
  const processes: { child: ChildProcess; log: string[] }[] = [];
  const pools: pg.Pool[] = [];

  before(async function () {
    this.timeout(15 * 60_000);
    root = await imageRoot("pgbouncer");
    const postgresRoot = await imageRoot("postgres");
    dir = await mkdtemp(join(tmpdir(), "test-pooler-"));
    await chmod(dir, 0o755);
    for (const part of ["ca", "config", "users", "tls", "haproxy", "run", "haproxy-run", "patroni"])
      await mkdir(join(dir, part));
    await makeAuthority(join(dir, "ca"));
    await issueCertificate(join(dir, "ca"), join(dir, "tls"), ["pgbouncer", "localhost"]);
    await issueCertificate(join(dir, "ca"), join(dir, "patroni"), ["*.postgresql-nodes.iam.svc.cluster.test"]);

    const [pooler, write, read, metrics, postgres, patroni] = await freePorts(6);
    plan = {
      settings: poolerSettings.parse({
        readLifetimeSeconds: 10,
        write: { acquireTimeoutMillis: 10_000 },
        read: { acquireTimeoutMillis: 10_000 },
      }),
      user: "iam_app",
      database: "iam",
      servers: { write: "postgresql", read: "postgresql-replicas" },
      nodes: HOSTS.map((host, i) => ({ name: `postgresql-test-${i}`, host })),
      ports: { pooler: pooler!, write: write!, read: read!, metrics: metrics! },
      postgresPort: postgres!,
      patroniPort: patroni!,
      maxReplicaLagBytes: 16 * 1024 ** 2,
    };

    dns = await TestDns.start(DNS);
    HOSTS.forEach((host, i) => dns.set(host, ADDRESSES[i]));
    roles = ["primary", "replica"];
    const tls = {
      key: await readFile(join(dir, "patroni", "tls.key")),
      cert: await readFile(join(dir, "patroni", "tls.crt")),
    };
    for (const [i, address] of ADDRESSES.entries()) {
      const server = createServer(tls, (request, response) =>
        response.writeHead(statusOf(roles[i]!, request.url ?? "")).end(),
      );
      await new Promise<void>((resolve) => server.listen(plan.patroniPort, address, resolve));
      patronis.push(server);
    }
    const common = { root: postgresRoot, port: plan.postgresPort, authority: join(dir, "ca") };
    const dnsNames = ["postgresql", "postgresql-replicas"];
    const primary = await TestPostgres.start({ ...common, address: ADDRESSES[0], dnsNames });
    servers.push(primary);
    await primary.psql(`create role iam_app login password '${PASSWORD}'`);
    await primary.psql("create database iam owner iam_app");
    servers.push(await TestPostgres.start({ ...common, address: ADDRESSES[1], dnsNames, primary }));

    await write_("config/pgbouncer.ini", pgbouncerIni(plan));
    await write_("config/hba.conf", hbaConf(plan));
    await write_("config/reload-on-change", RELOAD_ON_CHANGE);
    await write_("config/alive", PGBOUNCER_ALIVE);
    await write_("users/userlist.txt", userlist({ iam_app: PASSWORD, [STATS_USER]: STATS_PASSWORD }));
    await write_("haproxy/haproxy.cfg", haproxyCfg(plan));
    // As the kubelet writes it, hostAliases last.
    const kubelet = ["127.0.0.1\tlocalhost", "::1\tlocalhost ip6-localhost ip6-loopback"];
    await write_("hosts", [...kubelet, `${POOLER_LOOPBACK}\tpostgresql\tpostgresql-replicas`, ""].join("\n"));
    await write_("resolv.conf", `nameserver ${DNS}\n`);
    for (const part of ["run", "haproxy-run", "tls", "tls/tls.key", "tls/tls.crt"])
      await chown(join(dir, part), IMAGE_UID, IMAGE_UID);
    start([
      "/bin/sh",
      "/etc/pgbouncer/reload-on-change",
      "USR2",
      "/etc/pgbouncer-tls/ca.crt",
      "--",
      "haproxy",
      "-W",
      "-db",
      "-f",
      "/etc/haproxy/haproxy.cfg",
    ]);
    // As in the pod, PgBouncer comes when every database pod has been asked for its role.
    await sleep(3000);
    startPgbouncer();
  });

  after(async () => {
    await Promise.race([Promise.all(pools.map((pool) => pool.end().catch(() => undefined))), sleep(2000)]);
    for (const { child } of processes) child.kill("SIGKILL");
    for (const server of servers.reverse()) await server.stop();
    for (const server of patronis) server.close();
    await dns?.stop();
    if (dir) await rm(dir, { recursive: true, force: true });
  });

  const write_ = (path: string, text: string) => writeFile(join(dir, path), text);

  function mounts(): Record<string, string> {
    return {
      [POOLER_PATHS.config]: join(dir, "config"),
      [POOLER_PATHS.users]: join(dir, "users"),
      [POOLER_PATHS.tls]: join(dir, "tls"),
      [POOLER_PATHS.haproxy]: join(dir, "haproxy"),
      [POOLER_PATHS.run]: join(dir, "run"),
      [POOLER_PATHS.haproxyRun]: join(dir, "haproxy-run"),
      "/etc/hosts": join(dir, "hosts"),
      "/etc/resolv.conf": join(dir, "resolv.conf"),
    };
  }

  function start(argv: string[]): { child: ChildProcess; log: string[] } {
    const child = spawnInImage(root, argv, { mounts: mounts() });
    const one = { child, log: [] as string[] };
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on("data", (chunk: Buffer) => {
        one.log.push(chunk.toString());
        if (process.env["SHOW_ENGINES"]) process.stderr.write(chunk);
      });
    }
    processes.push(one);
    return one;
  }

  function startPgbouncer() {
    const watched = ["config/pgbouncer.ini", "users/userlist.txt", "tls/tls.crt"].map(
      (path) =>
        `/etc/${path.replace("config/", "pgbouncer/").replace("users/", "pgbouncer-users/").replace("tls/", "pgbouncer-tls/")}`,
    );
    return start([
      "/bin/sh",
      "/etc/pgbouncer/reload-on-change",
      "HUP",
      ...watched,
      "--",
      "pgbouncer",
      "/etc/pgbouncer/pgbouncer.ini",
    ]);
  }

  function poolTo(database: string, options: pg.PoolConfig = {}): pg.Pool {
    const pool = new pg.Pool({
      host: "127.0.0.1",
      port: plan.ports.pooler,
      user: "iam_app",
      password: PASSWORD,
      database,
      connectionTimeoutMillis: 15_000,
      ssl: { rejectUnauthorized: true, ca: caText, servername: "pgbouncer" },
      ...options,
    });
    pool.on("error", () => undefined);
    pools.push(pool);
    return pool;
  }
  let caText = "";
  before(async () => {
    caText = await readFile(join(dir, "ca", "ca.crt"), "utf8");
  });

  const WHERE = "select host(inet_server_addr()) as address, pg_is_in_recovery() as recovery";
  async function served(pool: pg.Pool): Promise<string> {
    const { rows } = await pool.query<{ address: string }>(WHERE);
    return rows[0]!.address;
  }
  async function eventually<T>(
    what: string,
    timeoutMs: number,
    attempt: () => Promise<T | undefined | false>,
  ): Promise<T> {
    const end = Date.now() + timeoutMs;
    let last: unknown;
    while (Date.now() < end) {
      try {
        const value = await attempt();
        if (value !== undefined && value !== false) return value;
      } catch (error) {
        last = error;
      }
      await sleep(100);
    }
    throw new Error(`not within ${timeoutMs} ms: ${what}`, { cause: last });
  }

  it("passes HAProxy's own check without a warning", async () => {
    const checked = await endOf(
      spawnInImage(root, ["haproxy", "-c", "-V", "-f", "/etc/haproxy/haproxy.cfg"], { mounts: mounts() }),
      20_000,
    );
    assert.equal(checked.code, 0, checked.output);
    assert.doesNotMatch(checked.output, /WARNING|ALERT/);
  });

  it("takes writes to the primary and reads to a replica, each with verified TLS to the end", async () => {
    const write = poolTo("iam");
    const read = poolTo("iam_ro");
    assert.equal(await eventually("a write", 15_000, () => served(write)), ADDRESSES[0]);
    assert.equal(await eventually("a read", 15_000, () => served(read)), ADDRESSES[1]);
    const { rows } = await write.query("select ssl, version from pg_stat_ssl where pid = pg_backend_pid()");
    assert.deepEqual(rows, [{ ssl: true, version: "TLSv1.3" }]);
    await write.query("create table if not exists t (id int)");
    await eventually(
      "the table on the replica",
      10_000,
      async () => (await read.query<{ there: boolean }>("select to_regclass('t') is not null as there")).rows[0]?.there,
    );
    await assert.rejects(read.query("insert into t values (1)"), { code: "25006" });
  });

  it("has settings as planned, and nothing in its configuration that PgBouncer does not know", async () => {
    const admin = await poolTo("pgbouncer", { user: STATS_USER, password: STATS_PASSWORD, max: 1 }).connect();
    try {
      const { rows } = await admin.query<{ key: string; value: string }>("show config");
      const config = Object.fromEntries(rows.map(({ key, value }) => [key, value]));
      assert.equal(config["query_wait_timeout"], "10");
      assert.equal(config["server_login_retry"], "0.2");
      assert.equal(config["server_idle_timeout"], "30");
      assert.equal(config["server_check_query"], "SELECT 1");
      assert.equal(config["pool_mode"], "transaction");
      const databases = await admin.query<Record<string, unknown>>("show databases");
      const read = databases.rows.find((row) => row["name"] === "iam_ro");
      assert.equal(Number(read?.["pool_size"]), 20);
      assert.equal(Number(read?.["min_pool_size"]), 5);
      assert.equal(Number(read?.["server_lifetime"]), 10);
      const write = databases.rows.find((row) => row["name"] === "iam");
      assert.equal(Number(write?.["max_connections"]), 10);
    } finally {
      admin.release();
    }
    const log = processes.map((one) => one.log.join("")).join("");
    assert.doesNotMatch(log, /unknown|unrecognized|ERROR/);
  });

  it("refuses plain connections, wrong passwords, and data to the user for statistics", async () => {
    await assert.rejects(poolTo("iam", { ssl: false }).connect(), /SSL required/);
    await assert.rejects(poolTo("iam", { password: "wrong_password_1234" }).connect(), /SASL|password/);
    await assert.rejects(
      poolTo("iam", { user: STATS_USER, password: STATS_PASSWORD }).connect(),
      /no authentication|denied|hba|login rejected/i,
    );
    await assert.rejects(poolTo("pgbouncer").connect(), /no authentication|denied|hba|login rejected|not allowed/i);
  });

  it("keeps the least number of connections open with no client", async () => {
    const admin = await poolTo("pgbouncer", { user: STATS_USER, password: STATS_PASSWORD, max: 1 }).connect();
    try {
      await eventually("2 and 5 server connections", 15_000, async () => {
        const { rows } = await admin.query<{ database: string }>("show servers");
        const count = (name: string) => rows.filter(({ database }) => database === name).length;
        return count("iam") >= 2 && count("iam_ro") >= 5;
      });
    } finally {
      admin.release();
    }
  });

  it("serves reads from the primary while no replica is fit, and from the replica again", async () => {
    const read = poolTo("iam_ro");
    assert.equal(await served(read), ADDRESSES[1]);
    roles[1] = "unfit";
    await eventually("reads by the primary", 10_000, async () => (await served(read)) === ADDRESSES[0]);
    roles[1] = "replica";
    // Connections to the primary are renewed within their life time (10 s here), none is cut.
    const begin = Date.now();
    let errors = 0;
    await eventually("reads by the replica alone", 25_000, async () => {
      const seen = await Promise.all(Array.from({ length: 10 }, () => served(read))).catch(() => {
        errors++;
        return [];
      });
      return seen.length > 0 && seen.every((address) => address === ADDRESSES[1]);
    });
    assert.equal(errors, 0);
    assert.ok(Date.now() - begin < 20_000);
  });

  it("follows a pod that comes back with a new address", async () => {
    const read = poolTo("iam_ro");
    dns.set(HOSTS[1]!, "127.0.7.9");
    await eventually("reads by the primary", 15_000, async () => (await served(read)) === ADDRESSES[0]);
    dns.set(HOSTS[1]!, ADDRESSES[1]);
    await eventually("reads by the replica", 25_000, async () => (await served(read)) === ADDRESSES[1]);
  });

  it("takes a new password and a new certificate without cutting a connection", async () => {
    const client = await poolTo("iam", { max: 1 }).connect();
    try {
      await client.query("begin");
      const next = "statistics_password_2";
      await write_("users/userlist.txt", userlist({ iam_app: PASSWORD, [STATS_USER]: next }));
      await issueCertificate(join(dir, "ca"), join(dir, "tls"), ["pgbouncer", "renewed"]);
      await chown(join(dir, "tls", "tls.key"), IMAGE_UID, IMAGE_UID);
      const admin = await eventually("login with the new password", 20_000, () =>
        poolTo("pgbouncer", {
          user: STATS_USER,
          password: next,
          max: 1,
          ssl: { ca: caText, servername: "renewed" },
        }).connect(),
      );
      admin.release();
      const { rows } = await client.query<{ n: number }>("select 1 as n");
      assert.equal(rows[0]?.n, 1);
      await client.query("commit");
    } finally {
      client.release();
    }
  });

  it("answers its liveness probe, and not while it hangs", async () => {
    const probe = ["/bin/bash", "/etc/pgbouncer/alive", String(plan.ports.pooler)];
    await runInImage(root, probe, { mounts: mounts() });
    const { child } = processes.at(-1)!;
    child.kill("SIGSTOP");
    const hung = await endOf(spawnInImage(root, probe, { mounts: mounts() }), 10_000);
    child.kill("SIGCONT");
    assert.notEqual(hung.code, 0);
  });

  it("serves reads in a standby region, from its leader as a last resort, and refuses writes at once, in words", async () => {
    const read = poolTo("iam_ro");
    const write = poolTo("iam", { connectionTimeoutMillis: 20_000 });
    roles = ["standby-leader", "replica"];
    await eventually("reads by the replica", 25_000, async () => (await served(read)) === ADDRESSES[1]);
    await eventually("writes are refused", 10_000, () =>
      write.query("select 1").then(
        () => false,
        () => true,
      ),
    );
    for (let i = 0; i < 3; i++) {
      const begin = Date.now();
      await assert.rejects(write.query("select 1"), { code: "08P01", message: /server login has been failing/ });
      assert.ok(Date.now() - begin < 2000, `${Date.now() - begin} ms`);
    }
    roles = ["standby-leader", "unfit"];
    await eventually("reads by the leader", 10_000, async () => (await served(read)) === ADDRESSES[0]);
    roles = ["primary", "replica"];
    await eventually("writes again", 15_000, async () => (await served(write)) === ADDRESSES[0]);
    await eventually("reads by the replica", 25_000, async () => (await served(read)) === ADDRESSES[1]);
  });

  it("moves writes to the new primary, and ends connections to the old one whatever they wait for", async () => {
    const write = poolTo("iam", { max: 4, query_timeout: 3000 });
    assert.equal(await served(write), ADDRESSES[0]);
    // As with a server that is frozen: the client would wait for ever.
    const waiting = write.query("select pg_sleep(60)").then(
      () => "answered",
      () => "let go",
    );
    await sleep(300);
    roles = ["unfit", "primary"];
    await servers[1]!.psql("select pg_promote()");
    const begin = Date.now();
    await eventually("writes to the new primary", 15_000, async () => {
      await write.query("insert into t values (2)");
      return (await served(write)) === ADDRESSES[1];
    });
    const gap = Date.now() - begin;
    assert.ok(gap < 5000, `${gap} ms`);
    assert.equal(await waiting, "let go");
  });

  it("drains: on SIGTERM it takes no new client and ends when the last one leaves", async () => {
    await Promise.all(pools.splice(0).map((pool) => pool.end()));
    const client = await poolTo("iam", { max: 1 }).connect();
    const { child } = processes.at(-1)!;
    const ended = new Promise<number | null>((resolve) => child.once("exit", resolve));
    child.kill("SIGTERM");
    await eventually("new clients refused", 5000, async () => {
      const refused = await poolTo("iam", { max: 1, connectionTimeoutMillis: 1000 })
        .connect()
        .then(
          (other) => (other.release(true), false),
          () => true,
        );
      return refused;
    });
    assert.equal((await client.query<{ n: number }>("select 2 as n")).rows[0]?.n, 2);
    assert.equal(child.exitCode, null);
    client.release(true);
    assert.equal(await Promise.race([ended, sleep(10_000).then(() => "late")]), 0);
  });
});

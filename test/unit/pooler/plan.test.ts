import assert from "node:assert/strict";
import fc from "fast-check";
import {
  haproxyCfg,
  hbaConf,
  pgbouncerIni,
  POOLER_PORTS,
  userlist,
  type PoolerPlan,
} from "../../../components/pooler/plan.ts";
import { poolerSettings } from "../../../components/pooler/settings.ts";

const planWith = (input: object, pods = 4): PoolerPlan => ({
  settings: poolerSettings.parse(input),
  user: "iam_app",
  database: "iam",
  servers: { write: "postgresql", read: "postgresql-replicas" },
  nodes: Array.from({ length: pods }, (_, i) => ({ name: `pg-${i}`, host: `pg-${i}.nodes.iam.svc.cluster.local` })),
  ports: POOLER_PORTS,
  postgresPort: 5432,
  patroniPort: 8008,
  maxReplicaLagBytes: 16_777_216,
});

/** The keys of one section; a later line of the same key would hide an earlier one, so that is an error. */
function section(ini: string, name: string): Record<string, string> {
  const body = ini.split(/^\[/m).find((part) => part.startsWith(`${name}]`));
  assert.ok(body, `section ${name}`);
  const entries = body
    .split("\n")
    .slice(1)
    .filter((line) => line.trim() && !line.startsWith(";"))
    .map((line) => /^(\S+) = (.*)$/.exec(line)!.slice(1) as [string, string]);
  const keys = entries.map(([key]) => key);
  assert.equal(new Set(keys).size, keys.length);
  return Object.fromEntries(entries);
}

describe("pgbouncer.ini", () => {
  it("has a write and a read entry with their own sizes", () => {
    const databases = section(pgbouncerIni(planWith({})), "databases");
    assert.equal(
      databases["iam"],
      "host=postgresql port=5432 dbname=iam user=iam_app pool_size=10 min_pool_size=2 max_db_connections=10 server_lifetime=3600",
    );
    assert.equal(
      databases["iam_ro"],
      "host=postgresql-replicas port=5433 dbname=iam user=iam_app pool_size=20 min_pool_size=5 max_db_connections=20 server_lifetime=60",
    );
  });

  it("turns milliseconds into seconds without loss", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1000, max: 600_000 }),
        fc.integer({ min: 5000, max: 600_000 }),
        fc.integer({ min: 100, max: 600_000 }),
        fc.integer({ min: 10, max: 600_000 }),
        (acquireTimeoutMillis, idleTimeoutMillis, createTimeoutMillis, createRetryIntervalMillis) => {
          const pool = { acquireTimeoutMillis, idleTimeoutMillis, createTimeoutMillis, createRetryIntervalMillis };
          const ini = section(pgbouncerIni(planWith({ write: pool, read: pool })), "pgbouncer");
          const millis = (key: string) => Math.round(Number(ini[key]) * 1000);
          assert.equal(millis("query_wait_timeout"), acquireTimeoutMillis);
          assert.equal(millis("server_idle_timeout"), idleTimeoutMillis);
          assert.equal(millis("server_connect_timeout"), createTimeoutMillis);
          assert.equal(millis("server_login_retry"), createRetryIntervalMillis);
        },
      ),
    );
  });

  it("asks for TLS on both sides and never holds a password", () => {
    const text = pgbouncerIni(planWith({}));
    const ini = section(text, "pgbouncer");
    assert.equal(ini["client_tls_sslmode"], "require");
    assert.equal(ini["server_tls_sslmode"], "verify-full");
    assert.equal(ini["auth_type"], "hba");
    assert.doesNotMatch(text, /password/i);
    for (const line of hbaConf({ user: "iam_app" }).trim().split("\n"))
      assert.match(line, /^hostssl .* scram-sha-256$/);
  });
});

describe("the list of users", () => {
  it("is one quoted line a user", () => {
    assert.equal(userlist({ a: "b-c", d: "e_f" }), '"a" "b-c"\n"d" "e_f"\n');
  });
  it("refuses what would break out of the quotes, without showing it", () => {
    assert.throws(
      () => userlist({ a: 'geheim"\n"x' }),
      (error: Error) => error instanceof RangeError && !error.message.includes("geheim"),
    );
  });
});

describe("haproxy.cfg", () => {
  const lines = (text: string, backend: string) => {
    const all = text.split("\n");
    const begin = all.indexOf(`backend ${backend}`);
    assert.ok(begin >= 0, backend);
    const end = all.findIndex((line, i) => i > begin && /^\S/.test(line));
    return all.slice(begin + 1, end < 0 ? undefined : end).map((line) => line.trim());
  };

  it("lists every database pod in every backend, checked under its own name", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 9 }), (pods) => {
        const plan = planWith({}, pods);
        for (const backend of ["primary", "replicas", "leader"]) {
          const servers = lines(haproxyCfg(plan), backend).filter((line) => line.startsWith("server "));
          assert.deepEqual(
            servers,
            plan.nodes.map(
              ({ name, host }) => `server ${name} ${host}:5432 check verifyhost ${host} check-sni ${host}`,
            ),
          );
        }
      }),
    );
  });

  it("asks each backend's own question, and falls back to the leader only without a fit replica", () => {
    const text = haproxyCfg(planWith({ readBalance: "leastconn" }));
    assert.ok(lines(text, "primary").includes("option httpchk OPTIONS /primary HTTP/1.0"));
    assert.ok(lines(text, "replicas").includes("option httpchk OPTIONS /replica?lag=16777216 HTTP/1.0"));
    assert.ok(lines(text, "replicas").includes("balance leastconn"));
    assert.match(text, /use_backend replicas if \{ nbsrv\(replicas\) gt 0 \}\n\s+default_backend leader/);
  });

  it("ends the connections of a pod that is no longer fit, and listens for clients on the loopback interface only", () => {
    const text = haproxyCfg(planWith({}));
    assert.match(text, /default-server .* on-marked-down shutdown-sessions/);
    assert.match(text, /default-server .* check-ssl verify required/);
    const binds = [...text.matchAll(/^ {2}bind (\S+)/gm)].map((match) => match[1]);
    assert.deepEqual(binds.sort(), ["127.0.0.2:5432", "127.0.0.2:5433", ":8404"]);
  });
});

import assert from "node:assert/strict";
import { execInPod, kubectl, kubectlJson, waitFor } from "./region.ts";

interface Member {
  Member: string;
  Role: string;
  State: string;
  TL?: number;
}
interface Pod {
  metadata: { name: string; uid: string };
  status: { conditions: { type: string; status: string }[] };
}
interface Slices {
  items: { endpoints?: { targetRef?: { name: string }; conditions: { ready?: boolean } }[] }[];
}

const SELECTOR = "app.kubernetes.io/name=postgresql";
/** Limit of one wait: everything else on the machine may be slow too. */
const LONG = 180_000;

/** SQL in the pod, as the superuser over its socket. */
async function sql(pod: string, statement: string, database = "postgres"): Promise<string> {
  return (
    await execInPod(pod, "postgres", ["psql", "-XAtq", "-U", "postgres", "-d", database, "-c", statement])
  ).trim();
}

const shell = (pod: string, script: string, stdin?: string) =>
  execInPod(pod, "postgres", ["bash", "-c", script], { timeoutMs: 60_000, ...(stdin === undefined ? {} : { stdin }) });

async function leader(): Promise<string> {
  return (await kubectl(["get", "endpoints", "postgresql", "-o", "jsonpath={.metadata.annotations.leader}"])).trim();
}

async function members(): Promise<Member[]> {
  const pods = await kubectlJson<{ items: Pod[] }>(["get", "pods", "-l", SELECTOR]);
  const text = await execInPod(pods.items[0]!.metadata.name, "postgres", ["patronictl", "list", "-f", "json"]);
  return JSON.parse(text) as Member[];
}

/** Waits until there is one leader and everybody else streams as a synchronous candidate. */
function settled(): Promise<Member[]> {
  return waitFor(
    "a leader and replicas that all stream",
    async () => {
      const all = await members();
      const good = all.filter((m) => m.State === "streaming" && m.Role === "Quorum Standby").length;
      const leaders = all.filter((m) => m.Role === "Leader" && m.State === "running").length;
      return leaders === 1 && good === all.length - 1 && all.length === (await size()) ? all : undefined;
    },
    LONG,
    2000,
  );
}

async function size(): Promise<number> {
  const sets = await kubectlJson<{ items: { spec: { replicas: number } }[] }>(["get", "statefulsets", "-l", SELECTOR]);
  return sets.items[0]!.spec.replicas;
}

/** Pods that a Service sends connections to. */
async function behind(service: string): Promise<string[]> {
  const slices = await kubectlJson<Slices>(["get", "endpointslices", "-l", `kubernetes.io/service-name=${service}`]);
  const all = slices.items.flatMap((slice) => slice.endpoints ?? []);
  return all.filter((e) => e.conditions.ready !== false).flatMap((e) => e.targetRef?.name ?? []);
}

async function applicationPassword(): Promise<string> {
  const data = await kubectl([
    "get",
    "secret",
    "postgresql-credentials",
    "-o",
    "jsonpath={.data.30-credentials\\.yml}",
  ]);
  const file = JSON.parse(Buffer.from(data, "base64").toString()) as { iam_ha: { application: { password: string } } };
  return file.iam_ha.application.password;
}

/** Logs in from a pod over the network; the password goes by standard input. */
function login(pod: string, conninfo: string, password: string, statement = "select 1"): Promise<string> {
  const command = `read -r PGPASSWORD; export PGPASSWORD PGCONNECT_TIMEOUT=10; exec psql -XAtq -d ${JSON.stringify(conninfo)} -c ${JSON.stringify(statement)} 2>&1`;
  return shell(pod, command, `${password}\n`);
}

const VERIFIED = "sslmode=verify-full sslrootcert=/etc/postgresql/tls/ca.crt";

describe("the database of a running region", function () {
  this.timeout(2 * LONG);
  let domain: string;

  before(async () => {
    const [first] = await settled();
    const host = await shell(first!.Member, "echo $PATRONI_POSTGRESQL_CONNECT_ADDRESS");
    domain = host
      .trim()
      .replace(/^[^.]+\.[^.]+\./, "")
      .replace(/:.*$/, "");
  });

  it("is one primary and its replicas, all of them in the quorum", async () => {
    const all = await settled();
    assert.equal(all.length, await size());
    const primary = await leader();
    assert.equal(await sql(primary, "select pg_is_in_recovery()"), "f");
    const others = all
      .map((m) => m.Member)
      .filter((name) => name !== primary)
      .sort();
    for (const name of others) assert.equal(await sql(name, "select pg_is_in_recovery()"), "t");
    const names = await sql(primary, "show synchronous_standby_names");
    assert.match(names, /^ANY [0-9]+ \(/);
    assert.deepEqual([...names.matchAll(/"([^"]+)"/g)].map(([, name]) => name!).sort(), others);
    const streams = await sql(primary, "select application_name || sync_state from pg_stat_replication order by 1");
    // Other regions stream too, and no commit waits for them.
    const elsewhere = streams.split("\n").filter((stream) => !others.some((name) => stream.startsWith(name)));
    assert.ok(
      elsewhere.every((stream) => stream.endsWith("async")),
      streams,
    );
    assert.deepEqual(
      streams.split("\n").filter((stream) => !elsewhere.includes(stream)),
      others.map((name) => `${name}quorum`),
    );
  });

  it("keeps the permanent slots, on the primary and on the replicas", async () => {
    const dynamic = await kubectl([
      "get",
      "configmap",
      "postgresql-patroni",
      "-o",
      "jsonpath={.data.20-dynamic\\.yml}",
    ]);
    const { bootstrap } = JSON.parse(dynamic) as { bootstrap: { dcs: { slots: Record<string, unknown> } } };
    const wanted = Object.keys(bootstrap.dcs.slots);
    assert.ok(wanted.includes("iam_replica_slot"));
    for (const { Member: pod } of await members()) {
      await waitFor(
        `the slots of ${pod}`,
        async () => {
          const have = (
            await sql(pod, "select slot_name from pg_replication_slots where restart_lsn is not null")
          ).split("\n");
          return wanted.every((slot) => have.includes(slot)) ? true : undefined;
        },
        LONG,
      );
    }
  });

  it("is configured as Patroni's own checker wants it", async () => {
    const output = await shell(
      await leader(),
      "patroni --validate-config --ignore-listen-port /etc/patroni 2>&1 || true",
    );
    // The validator of Patroni 4.0 does not know the quorum mode that Patroni 4.0 has.
    assert.deepEqual(output.trim().split("\n"), ["bootstrap.dcs.synchronous_mode quorum is not a boolean"]);
  });

  it("lets in the application with TLS and its password, and nobody otherwise", async () => {
    const [pod] = (await members()).filter((m) => m.Role !== "Leader");
    const password = await applicationPassword();
    const host = `host=postgresql.${domain} user=iam_app dbname=iam`;
    assert.equal((await login(pod!.Member, `${host} ${VERIFIED}`, password, "select pg_is_in_recovery()")).trim(), "f");
    await assert.rejects(login(pod!.Member, `${host} sslmode=disable`, password));
    await assert.rejects(login(pod!.Member, `${host} ${VERIFIED}`, "wrong-password-here"));
    await assert.rejects(
      login(pod!.Member, `host=postgresql.${domain} user=postgres dbname=postgres ${VERIFIED}`, password),
    );
    const reads = `host=postgresql-replicas.${domain} user=iam_app dbname=iam ${VERIFIED}`;
    assert.equal((await login(pod!.Member, reads, password, "select pg_is_in_recovery()")).trim(), "t");
  });

  it("replicates over TLS only", async () => {
    const versions = await sql(
      await leader(),
      "select distinct s.version from pg_stat_replication r join pg_stat_ssl s using (pid)",
    );
    assert.equal(versions, "TLSv1.3");
  });

  it("takes changes through Patroni's API from nobody without the password", async () => {
    const script = `import ssl,urllib.request as u
c=ssl.create_default_context(cafile="/etc/postgresql/tls/ca.crt")
try:
    print(u.urlopen(u.Request("https://localhost:8008/config",b"{}",method="PATCH"),context=c,timeout=10).status)
except u.HTTPError as e: print(e.code)`;
    assert.equal((await execInPod(await leader(), "postgres", ["python3", "-c", script])).trim(), "401");
  });

  it("takes a replica that is too far behind out of the read service, and back", async () => {
    await settled();
    const primary = await leader();
    const replica = (await members()).find((m) => m.Member !== primary)!.Member;
    const limit = Number(/lag=([0-9]+)/.exec(await kubectl(["get", "pod", replica, "-o", "json"]))![1]);
    await waitFor(
      "the replica serves reads",
      async () => ((await behind("postgresql-replicas")).includes(replica) ? true : undefined),
      LONG,
    );
    // Replay hangs: its process is stopped. (A pause would not do, as Patroni ends those.)
    const replay = await sql(replica, "select pid from pg_stat_activity where backend_type = 'startup'");
    await shell(replica, `kill -STOP ${Number(replay)}`);
    try {
      for (let written = 0; written < limit + 4_194_304; written += 1_048_576) {
        await sql(primary, "select pg_logical_emit_message(false, 'lag', repeat('x', 1048576))");
      }
      await waitFor(
        "the replica is out",
        async () => ((await behind("postgresql-replicas")).includes(replica) ? undefined : true),
        LONG,
      );
      assert.ok((await behind("postgresql-replicas")).length > 0, "the other replicas still serve reads");
    } finally {
      await shell(replica, `kill -CONT ${Number(replay)}`);
    }
    await waitFor(
      "the replica is back",
      async () => ((await behind("postgresql-replicas")).includes(replica) ? true : undefined),
      LONG,
    );
  });

  it("brings a changed parameter to all members without anybody's hand", async () => {
    const key = "20-dynamic.yml";
    const read = () =>
      kubectl(["get", "configmap", "postgresql-patroni", "-o", `jsonpath={.data.${key.replace(".", "\\.")}}`]);
    const write = (text: string) =>
      kubectl([
        "patch",
        "configmap",
        "postgresql-patroni",
        "--type=merge",
        "-p",
        JSON.stringify({ data: { [key]: text } }),
      ]);
    const original = await read();
    const config = JSON.parse(original) as {
      bootstrap: { dcs: { postgresql: { parameters: Record<string, string> } } };
    };
    config.bootstrap.dcs.postgresql.parameters["work_mem"] = "5MB";
    await write(JSON.stringify(config));
    try {
      for (const { Member: pod } of await members()) {
        await waitFor(
          `${pod} has it`,
          async () => ((await sql(pod, "show work_mem")) === "5MB" ? true : undefined),
          LONG,
        );
      }
    } finally {
      await write(original);
    }
  });

  it("survives the loss of its primary with all that was acknowledged; the old one comes back by pg_rewind", async () => {
    await settled();
    const old = await leader();
    await sql(
      old,
      "create table if not exists drill (n int primary key); truncate drill; insert into drill select generate_series(1, 1000)",
      "iam",
    );
    // The primary goes on alone for a moment and writes what nobody else gets: its senders are stopped, and the commit
    // does not wait for them. Then all of it dies at once.
    await shell(
      old,
      `senders=$(psql -XAtqU postgres -c "select pid from pg_stat_replication")
kill -STOP $senders
psql -XAtqU postgres -d iam -c "set synchronous_commit = local; insert into drill select generate_series(2001, 2500)"
kill -KILL $senders $(head -1 ${"/var/lib/postgresql/data/pgdata"}/postmaster.pid)`,
    );
    const next = await waitFor(
      "another primary",
      async () => {
        const name = await leader();
        return name !== "" && name !== old && (await sql(name, "select pg_is_in_recovery()")) === "f"
          ? name
          : undefined;
      },
      LONG,
    );
    assert.equal(await sql(next, "select count(*) from drill where n <= 1000", "iam"), "1000");
    await settled();
    assert.equal(await sql(old, "select pg_is_in_recovery()"), "t");
    // What only the old primary had was acknowledged to nobody who asked for safety, and is gone everywhere.
    for (const pod of [old, next]) assert.equal(await sql(pod, "select count(*) from drill", "iam"), "1000");
    const log = await kubectl(["logs", old, "-c", "postgres", "--since=10m"]);
    assert.match(log, /running pg_rewind from/);
    await sql(next, "drop table drill", "iam");
  });

  it("makes another pod primary when the primary's is deleted, and takes it back with its data", async () => {
    await settled();
    const old = await leader();
    const system = await sql(old, "select system_identifier from pg_control_system()");
    await kubectl(["delete", "pod", old, "--wait=false"]);
    const next = await waitFor(
      "another primary",
      async () => {
        const name = await leader();
        return name !== "" && name !== old ? name : undefined;
      },
      LONG,
    );
    await settled();
    assert.notEqual(next, old);
    assert.equal(await sql(old, "select system_identifier from pg_control_system()"), system);
    const log = await kubectl(["logs", old, "-c", "postgres"]);
    assert.doesNotMatch(
      log,
      /replica has been created using basebackup/,
      "it copied everything anew instead of going on",
    );
  });
});

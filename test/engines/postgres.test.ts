import assert from "node:assert/strict";
import { chmod, chown, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { configFiles, dynamicConfig, hbaRules, localConfig, PATHS } from "../../components/postgres/patroni.ts";
import { postgresSettings } from "../../components/postgres/settings.ts";
import { endOf, IMAGE_UID, imageRoot, runInImage, spawnInImage } from "../support/image-root.ts";
import { TestPostgres } from "../support/postgres.ts";
import { PASSWORDS, PodFiles, RunningReconciler, FakePatroni } from "../support/reconciler.ts";
import { freePorts } from "../support/sockets.ts";
import { regionContext } from "../support/context.ts";

const CONTEXT = regionContext();
const ADDRESS = "127.0.0.1";
const BIN = "/usr/lib/postgresql/17/bin";
const PATH = `${BIN}:/usr/sbin:/usr/bin:/sbin:/bin`;
const ROTATED = { ...PASSWORDS, replication: "replication-password-2", application: "application-password-2" };

describe("generated configuration with the image's own Patroni and PostgreSQL", function () {
  this.timeout(60_000);
  const settings = postgresSettings.parse({ extraParameters: { "pg_stat_statements.max": 1000, jit: "off" } });
  let root: string;
  let files: PodFiles;
  let server: TestPostgres;
  let dataDir: string;

  before(async function () {
    this.timeout(15 * 60_000);
    root = await imageRoot("postgres");
    files = await PodFiles.make();
    for (const [name, text] of Object.entries(configFiles(CONTEXT, settings, ["shanghai", "shenzhen"]))) {
      await files.write(`config/${name}`, text);
    }
    dataDir = await mkdtemp(join(tmpdir(), "test-patroni-data-"));
    await chown(dataDir, IMAGE_UID, IMAGE_UID);
    const [port] = await freePorts(1);
    const authority = join(files.folder, "ca");
    server = await TestPostgres.start({ root, address: ADDRESS, port: port!, authority, dnsNames: ["localhost"] });
  });
  after(async () => {
    await server?.stop();
    await files?.remove();
    if (dataDir) await rm(dataDir, { recursive: true, force: true });
  });

  it("is valid to Patroni", async () => {
    const child = spawnInImage(root, ["/usr/bin/patroni", "--validate-config", "--ignore-listen-port", PATHS.config], {
      mounts: { ...files.mounts, [PATHS.volume]: dataDir },
      env: {
        PATH,
        HOME: "/tmp",
        PATRONI_NAME: "postgresql-beijing-0",
        PATRONI_KUBERNETES_NAMESPACE: "iam",
        PATRONI_KUBERNETES_POD_IP: "10.0.0.1",
        PATRONI_POSTGRESQL_CONNECT_ADDRESS: "postgresql-beijing-0.postgresql-nodes.iam.svc.cluster.local:5432",
        PATRONI_RESTAPI_CONNECT_ADDRESS: "postgresql-beijing-0.postgresql-nodes.iam.svc.cluster.local:8008",
      },
    });
    const { output } = await endOf(child, 60_000);
    // Patroni 4.0's validator knows no quorum yet, though Patroni 4.0 does. All else must be in order.
    const complaints = output.split("\n").filter((line) => line.trim() !== "");
    assert.deepEqual(complaints, ["bootstrap.dcs.synchronous_mode quorum is not a boolean"]);
  });

  it("has only parameters that PostgreSQL knows, with values that it takes", async () => {
    const fixed = (localConfig(CONTEXT, settings)["postgresql"] as { parameters: Record<string, string> }).parameters;
    const all = { ...dynamicConfig(settings, []).postgresql.parameters, ...fixed };
    const statements = Object.entries(all).map(([name, value]) => {
      const quoted = name.includes(".")
        ? name
            .split(".")
            .map((part) => `"${part}"`)
            .join(".")
        : name;
      return `ALTER SYSTEM SET ${quoted} = '${String(value).replaceAll("'", "''")}';`;
    });
    assert.ok(statements.length > 50);
    for (const statement of statements)
      await server.psql(statement).catch((error: unknown) => assert.fail(`${statement} ${String(error)}`));
    await assert.rejects(
      server.psql("ALTER SYSTEM SET work_mem = 'much'"),
      /invalid value/,
      "a wrong value is noticed",
    );
    await server.psql("ALTER SYSTEM RESET ALL");
  });

  it("makes roles and database, once, and lets each role in only where it belongs", async () => {
    await write(server, "pg_hba.conf", hbaRules(postgresSettings.parse({ clientNetworks: ["127.0.0.0/8"] }), []));
    await server.psql("select pg_reload_conf()");
    const errors = await server.psql("select count(*), count(error) from pg_hba_file_rules");
    assert.equal(errors, "6|0");

    const first = await roles();
    assert.match(first, /CREATE ROLE "replicator" LOGIN REPLICATION/);
    assert.match(first, /CREATE ROLE "iam_app" LOGIN/);
    assert.match(first, /CREATE DATABASE "iam"/);
    assert.equal(await roles(), "", "a second run has nothing to do");
    assert.equal(
      await server.psql("select datacl from pg_database where datname = 'iam'"),
      "{iam_app=CTc/iam_app,monitor=c/iam_app}",
    );

    const may: [string, string, string, boolean][] = [
      ["iam_app", "iam", PASSWORDS.application, true],
      ["iam_app", "iam", "wrong-password-here", false],
      ["iam_app", "postgres", PASSWORDS.application, false],
      ["rewind", "postgres", PASSWORDS.rewind, true],
      ["rewind", "iam", PASSWORDS.rewind, false],
      ["replicator", "iam", PASSWORDS.replication, false],
      ["monitor", "iam", PASSWORDS.monitor, true],
      ["monitor", "postgres", PASSWORDS.monitor, true],
      ["monitor", "template1", PASSWORDS.monitor, false],
      ["postgres", "postgres", PASSWORDS.superuser, false],
    ];
    for (const [user, database, password, expected] of may) {
      const got = await login(`user=${user} dbname=${database} sslmode=verify-full`, password);
      assert.equal(got.ok, expected, `${user} at ${database}: ${got.output}`);
    }
    const plain = await login("user=iam_app dbname=iam sslmode=disable", PASSWORDS.application);
    assert.equal(plain.ok, false);
    assert.match(plain.output, /no encryption/);
  });

  it("changes passwords, and the application owns what is its own", async () => {
    await files.setPasswords(ROTATED);
    const done = await roles();
    assert.deepEqual(done.trim().split("\n").sort(), ['roles: ALTER ROLE "iam_app"', 'roles: ALTER ROLE "replicator"']);
    assert.equal((await login("user=iam_app dbname=iam sslmode=require", PASSWORDS.application)).ok, false);
    const app = await login(
      "user=iam_app dbname=iam sslmode=require",
      ROTATED.application,
      "create table t (); drop table t",
    );
    assert.equal(app.ok, true, app.output);
    assert.equal(
      (await login("user=replicator replication=true sslmode=verify-full", ROTATED.replication, "IDENTIFY_SYSTEM")).ok,
      true,
    );
  });

  it("leaves a replica's Patroni on the old password until the primary takes the new one", async () => {
    const patroni = await FakePatroni.start(files);
    const mounts = { "/run/postgresql": server.mounts["/mnt/run"]! };
    const reconciler = new RunningReconciler(root, files, { IAM_HA_PATRONI_URL: patroni.url }, mounts);
    try {
      patroni.me = { state: "running", role: "replica" };
      patroni.members = [{ name: "a", role: "leader", state: "running", host: "localhost", port: server.options.port }];
      await files.setPasswords({ ...ROTATED, replication: "replication-password-3" });
      await reconciler.until("a word on why", () => reconciler.events.some(({ event }) => event === "reload put off"));
      assert.deepEqual(patroni.seen, []);
      await roles();
      await reconciler.until("the reload", () => patroni.seen.includes("POST /reload"));
    } finally {
      await reconciler.stop();
      await patroni.stop();
    }
  });

  /** Runs roles.py as the pod does. */
  function roles(): Promise<string> {
    return runInImage(root, ["/usr/bin/python3", "/etc/iam-ha/roles.py"], {
      mounts: { ...files.mounts, "/run/postgresql": server.mounts["/mnt/run"]! },
      env: { PATH, PYTHONDONTWRITEBYTECODE: "1", IAM_HA_PORT: String(server.options.port) },
    });
  }

  async function login(conninfo: string, password: string, sql = "select 1"): Promise<{ ok: boolean; output: string }> {
    const where = `host=localhost hostaddr=${ADDRESS} port=${server.options.port} sslrootcert=${PATHS.tls}/ca.crt`;
    const child = spawnInImage(root, ["psql", "-XAtq", "-d", `${where} ${conninfo}`, "-c", sql], {
      mounts: files.mounts,
      env: { PATH, PGPASSWORD: password, PGCONNECT_TIMEOUT: "10" },
    });
    const { code, output } = await endOf(child, 30_000);
    return { ok: code === 0, output };
  }
});

async function write(server: TestPostgres, name: string, lines: readonly string[]): Promise<void> {
  const path = join(server.folder, "data", name);
  await writeFile(path, `${lines.join("\n")}\n`);
  await chown(path, IMAGE_UID, IMAGE_UID);
  await chmod(path, 0o600);
}

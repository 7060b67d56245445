import assert from "node:assert/strict";
import { access, chmod, mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { endpointName } from "../../components/common/names.ts";
import { makeAuthority, issueCertificate } from "../support/certificates.ts";
import { DatabaseRegion } from "../support/database-region.ts";
import { FakeKubernetes } from "../support/fake-kubernetes.ts";
import { imageRoot } from "../support/image-root.ts";
import { PASSWORDS } from "../support/reconciler.ts";
import { freePorts } from "../support/sockets.ts";

const DOMAIN = "iam.example.com";

describe("the database in three regions, with real Patroni and PostgreSQL", function () {
  this.timeout(240_000);
  let folder: string;
  let kubernetes: FakeKubernetes;
  let ports: { postgres: number; patroni: number };
  let beijing: DatabaseRegion;
  let shanghai: DatabaseRegion;
  let shenzhen: DatabaseRegion;
  let regions: DatabaseRegion[];

  before(async function () {
    this.timeout(15 * 60_000);
    const root = await imageRoot("postgres");
    folder = await mkdtemp(join(tmpdir(), "test-regions-"));
    await chmod(folder, 0o755);
    for (const part of ["ca", "api"]) await mkdir(join(folder, part));
    await makeAuthority(join(folder, "ca"));
    await issueCertificate(join(folder, "ca"), join(folder, "api"), ["localhost"]);
    kubernetes = await FakeKubernetes.start(join(folder, "api"));
    const [postgres, patroni] = await freePorts(2);
    ports = { postgres: postgres!, patroni: patroni! };
    const names = ["beijing", "shanghai", "shenzhen"];
    const region = (name: string, addresses: string[]) =>
      new DatabaseRegion({
        root,
        folder,
        kubernetes,
        region: name,
        peers: names.filter((other) => other !== name),
        addresses,
        ports,
      });
    beijing = region("beijing", ["127.0.8.1"]);
    shanghai = region("shanghai", ["127.0.8.11", "127.0.8.12"]);
    shenzhen = region("shenzhen", ["127.0.8.21"]);
    regions = [beijing, shanghai, shenzhen];
    await writeHosts();
    for (const one of regions) await one.prepare();
  });
  after(async () => {
    for (const region of regions ?? []) await region.stop();
    await kubernetes?.stop();
    if (folder) await rm(folder, { recursive: true, force: true });
  });

  /** /etc/hosts of all pods: endpoints lead to leaders, as the Services behind them do. */
  async function writeHosts(): Promise<void> {
    const lines = regions.flatMap((region) => {
      const address = region.options.addresses[region.leader ?? 0]!;
      return [...region.hosts, `${address} ${endpointName("postgresql", region.options.region, DOMAIN)}`];
    });
    // In place: it is mounted as a file.
    await writeFile(join(folder, "hosts"), ["127.0.0.1 localhost", ...lines, ""].join("\n"));
  }

  async function until<T>(what: string, timeoutMs: number, attempt: () => Promise<T | false> | T | false): Promise<T> {
    let last: unknown;
    for (const end = Date.now() + timeoutMs; Date.now() < end; await sleep(200)) {
      try {
        const value = await attempt();
        if (value !== false) return value;
      } catch (error) {
        last = error;
      }
    }
    throw new Error(`${what}: not within ${timeoutMs} ms`, { cause: last });
  }

  const standby = (source: string, slot: string) => ({
    as: "standby" as const,
    ready: true,
    source: { host: endpointName("postgresql", source, DOMAIN), port: ports.postgres, slot },
    cause: `${source} is active`,
  });
  const rows = (region: DatabaseRegion, pod: number) => region.psql(pod, "select count(*) from t");
  const streams = (region: DatabaseRegion, pod: number) =>
    region.psql(pod, "select status from pg_stat_wal_receiver").then((status) => status === "streaming");
  const slot = (region: DatabaseRegion, pod: number, name: string) =>
    region.psql(
      pod,
      `select active, wal_status, restart_lsn - '0/0' from pg_replication_slots where slot_name = '${name}'`,
    );

  /** Writes more WAL in Beijing than slots may keep back: six segments, the oldest of which a checkpoint removes. */
  async function writeMuch(): Promise<void> {
    for (let i = 0; i < 6; i++)
      await beijing.psql(0, "insert into t values (1)").then(() => beijing.psql(0, "select pg_switch_wal()"));
    await beijing.psql(0, "checkpoint");
  }

  it("makes no database before the region controller has decided, and then the first one", async () => {
    beijing.startPod(0);
    await until("a word on why it waits", 30_000, () => beijing.log(0).includes("the test has not decided"));
    assert.deepEqual(kubernetes.annotations("beijing", "endpoints", "postgresql-config"), {});
    beijing.birth = { as: "primary", cause: "nobody is active yet" };
    await until("a primary", 60_000, async () => (await beijing.psql(0, "select pg_is_in_recovery()")) === "f");
    assert.ok(
      beijing.asked.every((name) => name === "localhost"),
      "it showed its certificate",
    );
    await beijing.psql(0, "create table t (id int); insert into t values (1)");
    assert.equal(beijing.dynamic["standby_cluster"], undefined);
    await until(
      "roles",
      30_000,
      async () => (await beijing.psql(0, "select pg_has_role('monitor', 'pg_read_all_data', 'member')")) === "t",
    );
  });

  it("makes a standby cluster that streams through its slot, over TLS, with every region's slot on each member", async () => {
    shanghai.birth = standby("beijing", "shanghai");
    for (const pod of [0, 1]) shanghai.startPod(pod);
    const birth = join(shanghai.folder, "pod-0/patroni/config/40-birth.yml");
    const told = await until("the answer in a file", 60_000, () => readFile(birth, "utf8"));
    assert.match(told, /"host": "postgresql-beijing\.iam\.example\.com"/);
    for (const pod of [0, 1])
      await until(
        `rows in shanghai-${pod}`,
        90_000,
        async () => (await rows(shanghai, pod)) === "1" && streams(shanghai, pod),
      );
    const seen = await beijing.psql(
      0,
      "select r.application_name, s.ssl, s.version, r.state, (select slot_name from pg_replication_slots where active_pid = r.pid) from pg_stat_replication r join pg_stat_ssl s using (pid)",
    );
    assert.match(seen, /^postgresql-shanghai-[01]\|t\|TLSv1.3\|streaming\|shanghai$/);
    for (const pod of [0, 1])
      await until(`slots on shanghai-${pod}`, 20_000, async () =>
        /beijing,iam_replica_slot,.*shenzhen/.test(
          await shanghai.psql(pod, "select string_agg(slot_name, ',' order by slot_name) from pg_replication_slots"),
        ),
      );
    assert.equal(await shanghai.psql(0, "select pg_is_in_recovery()"), "t");
  });

  it("cascades: a third region streams from the second's leader, whose slot moves with it", async () => {
    await until("shanghai leads itself", 30_000, () => shanghai.leader !== undefined);
    await writeHosts();
    shenzhen.birth = standby("shanghai", "shenzhen");
    kubernetes.unregistered = "shenzhen";
    shenzhen.startPod(0);
    // Killed when the copy is there and the cluster is not registered yet: what the copy brought along is shanghai's.
    await until("a copy", 60_000, () =>
      access(join(shenzhen.folder, "pod-0/volume/pgdata/postmaster.pid")).then(() => true),
    );
    await shenzhen.killPod(0);
    kubernetes.unregistered = undefined;
    assert.equal(shenzhen.dynamic["standby_cluster"], undefined, "it is registered");
    // Patroni may have written its own over it already; not on a disk that was a little slower.
    const cache = (region: DatabaseRegion, pod: number) =>
      join(region.folder, `pod-${pod}/volume/pgdata/patroni.dynamic.json`);
    const brought = await readFile(cache(shanghai, shanghai.leader!), "utf8");
    assert.match(brought, /"iam_ha_region": "shanghai"/);
    await writeFile(cache(shenzhen, 0), brought);
    shenzhen.startPod(0);
    await until("rows in shenzhen", 90_000, async () => (await rows(shenzhen, 0)) === "1" && streams(shenzhen, 0));
    await until("registration", 30_000, () => shenzhen.dynamic["standby_cluster"] !== undefined);
    assert.deepEqual(shenzhen.dynamic["standby_cluster"], {
      host: "postgresql-shanghai.iam.example.com",
      port: ports.postgres,
      primary_slot_name: "shenzhen",
      create_replica_methods: ["iam_ha_clone", "basebackup"],
    });
    const leader = shanghai.leader!;
    const [active, , before] = (await slot(shanghai, leader, "shenzhen")).split("|");
    assert.equal(active, "t");
    await beijing.psql(0, "insert into t values (2)");
    await until("the row in shenzhen", 20_000, async () => (await rows(shenzhen, 0)) === "2");
    await until(
      "the slot moves",
      30_000,
      async () => Number((await slot(shanghai, leader, "shenzhen")).split("|")[2]) > Number(before),
    );
  });

  it("rebuilds a region of one when its slot was lost", async () => {
    const leader = shanghai.leader!;
    const before = (await slot(shanghai, leader, "shenzhen")).split("|")[2];
    await shenzhen.killPod(0);
    await writeMuch();
    await until("shanghai has it all", 30_000, async () => (await rows(shanghai, leader)) === "8");
    // What shenzhen needs next is gone where it would get it, and its slot there was made anew.
    await until("the slot is lost, and made anew", 60_000, async () => {
      await shanghai.psql(leader, "checkpoint");
      const [active, status, at] = (await slot(shanghai, leader, "shenzhen")).split("|");
      return active === "f" && status !== "lost" && Number(at) > Number(before) + 64 * 1024 ** 2;
    });
    const begin = Date.now();
    shenzhen.startPod(0);
    await until("it reads on from its old data meanwhile", 60_000, async () => (await rows(shenzhen, 0)) === "2");
    await until("rows in shenzhen", 120_000, async () => (await rows(shenzhen, 0)) === "8" && streams(shenzhen, 0));
    process.stdout.write(`      a region of one was whole again after ${((Date.now() - begin) / 1000).toFixed(1)} s\n`);
    assert.match(shenzhen.log(0), /"event": "data directory removed"/);
  });

  it("rebuilds a region of several while it goes on serving reads, and those behind it stream again", async () => {
    for (const pod of [0, 1]) await shanghai.killPod(pod);
    await writeMuch();
    await until("the slot is lost", 60_000, async () => {
      await beijing.psql(0, "checkpoint");
      return beijing.log(0).includes("lost slot dropped");
    });
    const begin = Date.now();
    for (const pod of [0, 1]) shanghai.startPod(pod);
    await until(
      "both read on from their old data",
      90_000,
      async () => (await rows(shanghai, 0)) === "8" && (await rows(shanghai, 1)) === "8",
    );
    let unread = 0;
    let whole = false;
    const reading = (async () => {
      while (!whole) {
        const read = await Promise.allSettled([rows(shanghai, 0), rows(shanghai, 1)]);
        if (read.every(({ status }) => status === "rejected")) unread++;
        await sleep(300);
      }
    })();
    try {
      for (const pod of [0, 1])
        await until(
          `rows in shanghai-${pod}`,
          150_000,
          async () => (await rows(shanghai, pod)) === "14" && streams(shanghai, pod),
        );
    } finally {
      whole = true;
      await reading;
    }
    process.stdout.write(
      `      a region of two was whole again after ${((Date.now() - begin) / 1000).toFixed(1)} s; no member answered ${unread} times of all 300 ms\n`,
    );
    await writeHosts();
    await until("rows in shenzhen", 150_000, async () => (await rows(shenzhen, 0)) === "14" && streams(shenzhen, 0));
    const ids = await Promise.all(
      regions.map((region) => region.psql(0, "select system_identifier from pg_control_system()")),
    );
    assert.equal(new Set(ids).size, 1);
  });

  it("never removes a primary's data, nor a standby's when its source is not there or is another system", async () => {
    const order = { host: endpointName("postgresql", "beijing", DOMAIN), port: ports.postgres, system_id: "1" };
    const mark = async (region: DatabaseRegion, content: object) => {
      const before = region.log(0).split("not rebuilt").length;
      await writeFile(join(region.folder, "pod-0/sockets/iam-ha-rebuild.json"), JSON.stringify(content), {
        mode: 0o644,
      });
      await until("its answer", 60_000, () => region.log(0).split("not rebuilt").length > before);
      return region
        .log(0)
        .match(/"event": "not rebuilt", "cause": ".*"/g)!
        .at(-1)!;
    };
    const system_id = await beijing.psql(0, "select system_identifier from pg_control_system()");
    assert.match(await mark(beijing, { ...order, system_id }), /this is no standby/);
    assert.match(await mark(shenzhen, order), /the database is another one/);
    assert.match(await mark(shenzhen, { ...order, port: 1, system_id }), /refused/);
    await until("rows in shenzhen", 60_000, async () => (await rows(shenzhen, 0)) === "14");
    await until("a primary", 60_000, async () => (await rows(beijing, 0)) === "14");
  });

  it("keeps its own configuration beside the data, so that a start asks nobody", async () => {
    for (const region of regions)
      for (const pod of region.options.addresses.keys()) {
        const cache = join(region.folder, `pod-${pod}/volume/pgdata/patroni.dynamic.json`);
        assert.match(await readFile(cache, "utf8"), new RegExp(`"iam_ha_region": "${region.options.region}"`), cache);
      }
  });

  it("has no password in any log", () => {
    for (const region of regions)
      for (const pod of region.options.addresses.keys())
        for (const password of Object.values<string>({ ...PASSWORDS })) assert.ok(!region.log(pod).includes(password));
  });

  it("gives Patroni the birth's answer once, and what changes in the mounted files always", async () => {
    const started = (region: DatabaseRegion) => readdir(join(region.folder, "pod-0/patroni/config"));
    // Shenzhen's last start had a database; its folder is links alone.
    assert.deepEqual(await started(shenzhen), [
      "10-patroni.yml",
      "20-dynamic.yml",
      "30-credentials.yml",
      "35-test.yml",
    ]);
    const mounted = join(shenzhen.folder, "pod-0/config/10-patroni.yml");
    const changed = (await readFile(mounted, "utf8")).replace(/(monitor) 127\.0\.0\.0\/8/, "$1 127.3.0.0/16");
    await writeFile(`${mounted}.new`, changed);
    await rename(`${mounted}.new`, mounted);
    await until("the new rule", 30_000, async () => {
      const found = await shenzhen.psql(0, "select count(*) from pg_hba_file_rules where address = '127.3.0.0'");
      return found === "1";
    });
  });
});

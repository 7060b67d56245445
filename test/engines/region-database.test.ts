import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { RegionStatus } from "../../sidecar/core/region-status.ts";
import { call } from "../../sidecar/region/https.ts";
import { imageRoot } from "../support/image-root.ts";
import { TestPostgres } from "../support/postgres.ts";
import { eventually } from "../support/redis-servers.ts";
import { RegionWorld, TestController, type Name } from "../support/region-world.ts";
import { TestWitness } from "../support/test-witness.ts";

/** Changes a row's text in a table's file, as damaged storage would. */
async function damage(server: TestPostgres, file: string, from: string, to: string): Promise<void> {
  const path = join(server.folder, "data", file);
  const content = await readFile(path);
  // A short text is stored with one byte of length before it, itself included.
  const stored = (text: string) => Buffer.concat([Buffer.from([2 * (text.length + 1) + 1]), Buffer.from(text)]);
  const at = content.lastIndexOf(stored(from));
  assert.ok(at > 0, "the row is in the file");
  stored(to).copy(content, at);
  await writeFile(path, content);
}

describe("region controllers with a real primary and a real standby", function () {
  this.timeout(120_000);
  let world: RegionWorld;
  let witness: TestWitness;
  let primary: TestPostgres;
  let standby: TestPostgres;
  const running = new Map<Name, TestController>();

  before(async function () {
    this.timeout(900_000); // the image may have to be built
    const root = await imageRoot("postgres");
    world = await RegionWorld.make();
    witness = await TestWitness.start({
      folder: world.folder,
      regions: ["beijing"],
      tls: world.path("witness"),
      client: world.tls("beijing"),
    });
    const options = { root, address: "127.0.0.1", authority: world.path("authority"), dnsNames: ["localhost"] };
    primary = await TestPostgres.start({ ...options, port: world.postgresPort("beijing") });
    await primary.psql(
      "create role monitor login password 'monitor-password-00001' in role pg_monitor, pg_read_all_data",
    );
    await primary.psql("create database iam");
    await primary.psql(
      "select pg_create_physical_replication_slot('shanghai', true), pg_create_physical_replication_slot('shenzhen')",
    );
    await primary.psql(
      `create table users (id int primary key, name text, born timestamptz default now(), salary float8);
       create schema "Odd Name"; create table "Odd Name"."T;x" (t text);
       create unlogged table scratch (x int);
       insert into users select i, 'user ' || i, '2026-01-01'::timestamptz + i * interval '1 hour', i / 3.0 from generate_series(1, 20000) i;
       insert into "Odd Name"."T;x" values ('a');`,
      "iam",
    );
    standby = await TestPostgres.start({ ...options, port: world.postgresPort("shanghai"), primary });
    await standby.psql("alter system set primary_slot_name = 'shanghai'");
    await standby.psql("select pg_reload_conf()");

    const systemId = await primary.psql("select system_identifier from pg_control_system()");
    for (const name of ["beijing", "shanghai"] as const) world.patroni[name].systemId = systemId;
    world.patroni.beijing.history = [[1, 1, "x"]];
    world.patroni.shanghai.standbyOf("beijing", world.postgresPort("beijing"), "shanghai");
    for (const name of ["beijing", "shanghai"] as const)
      running.set(name, new TestController(world.config(name, () => witness.url("beijing"))));
  });
  after(async () => {
    for (const controller of running.values()) await controller.stop();
    world?.stop();
    await standby?.stop();
    await primary?.stop();
    await witness?.stop(world.folder);
  });
  afterEach(function () {
    if (this.currentTest?.state !== "failed") return;
    for (const [name, { log }] of running)
      for (const line of log.slice(-20)) process.stdout.write(`${name} ${JSON.stringify(line)}\n`);
  });

  const status = async (name: Name): Promise<RegionStatus> => {
    const url = `https://region-${name}.test:${world.port(name)}/status?full`;
    const as = name === "beijing" ? "shanghai" : "beijing";
    const { body } = await call(world.tls(as), url, { timeoutMillis: 5000 });
    return JSON.parse(body.toString()) as RegionStatus;
  };
  const link = async () => (await status("shanghai")).links[0]!;

  it("tell what their databases are: positions, replicas, slots", async () => {
    await eventually("the standby streams through its slot", 20_000, async () => {
      const { database } = await status("beijing");
      assert.equal(database.state, "primary");
      const slot = database.slots.find(({ name }) => name === "shanghai");
      return slot?.active === true && slot.walStatus === "reserved" && slot.retainedBytes! >= 0;
    });
    const active = await status("beijing");
    assert.equal(active.database.replicas, 0, "what streams through another region's slot is no replica of this one");
    assert.deepEqual(
      active.database.slots.map(({ name }) => name),
      ["shanghai", "shenzhen"],
    );
    assert.deepEqual(active.links, []);
    const other = await status("shanghai");
    assert.deepEqual(
      [other.database.state, other.database.streaming, other.database.source],
      ["standby", true, "beijing"],
    );
  });

  it("the lag is that of the database", async () => {
    await eventually("no lag when idle", 10_000, async () => {
      const { lagBytes, lagSeconds, healthy } = await link();
      return healthy && lagBytes === 0 && lagSeconds === 0;
    });
    await standby.psql("select pg_wal_replay_pause()");
    await primary.psql("insert into users select i, 'more' from generate_series(20001, 40000) i", "iam");
    const since = Date.now();
    await sleep(3000);
    await eventually("bytes are those of the database's own figures", 10_000, async () => {
      const truth = await primary.psql(
        `select pg_wal_lsn_diff(pg_current_wal_lsn(), '${await standby.psql("select pg_last_wal_replay_lsn()")}')`,
      );
      return Number(truth) > 1_000_000 && (await link()).lagBytes === Number(truth);
    });
    const { lagSeconds } = await link();
    const age = (Date.now() - since) / 1000;
    assert.ok(lagSeconds! >= 2 && lagSeconds! <= age + 1, `${lagSeconds} s, written ${age} s ago`);
    await standby.psql("select pg_wal_replay_resume()");
    await eventually("it has caught up", 10_000, async () => (await link()).lagSeconds === 0);
  });

  it("content is compared without stopping anything, and a true copy never differs under writes", async () => {
    let writing = true;
    const writer = (async () => {
      for (let i = 0; writing; i++) {
        await primary.psql(
          `update users set name = name || '.' where id % 97 = ${i % 97}; delete from users where id = ${i}; insert into users values (${-i - 1}, 'new')`,
          "iam",
        );
      }
    })();
    const before = (await status("shanghai")).consistency.checkedAt;
    try {
      await eventually("several rounds", 40_000, async () => {
        const { consistency } = await status("shanghai");
        return consistency.checkedAt !== before && consistency.rows > 100;
      });
      await sleep(5000);
    } finally {
      writing = false;
      await writer;
    }
    const { consistency, problems } = await status("shanghai");
    assert.equal(consistency.source, "beijing");
    assert.equal(consistency.differences, 0);
    assert.deepEqual(
      problems.filter(({ kind }) => kind === "content-differs"),
      [],
    );
    const failed = running.get("shanghai")!.events("comparison-failed");
    assert.deepEqual(
      failed.map(({ cause }) => cause),
      [],
    );
  });

  it("a copy whose content was changed is found, by the table's name and without a row's content", async () => {
    const path = await standby.psql('select pg_relation_filepath(\'"Odd Name"."T;x"\')', "iam");
    await standby.psql("checkpoint");
    await standby.kill();
    await damage(standby, path, "a", "b");
    await standby.resume();
    await eventually("the difference is reported", 40_000, async () => {
      const { problems, consistency } = await status("shanghai");
      const found = problems.find(({ kind }) => kind === "content-differs");
      if (!found) return false;
      assert.equal(found.subject, '"Odd Name"."T;x"');
      assert.match(found.message, /1 row of "Odd Name"."T;x" in shanghai differ from beijing/);
      return consistency.differences === 1;
    });
  });

  it("a source that is gone shows in the link, and as an error", async () => {
    await primary.kill();
    await eventually("the link is not healthy", 20_000, async () => {
      const { healthy, detail, errors } = await link();
      return !healthy && /nothing is received/.test(detail) && errors > 0;
    });
    await primary.resume();
    await eventually("it is again", 20_000, async () => (await link()).healthy);
  });
});

import assert from "node:assert/strict";
import { claimTransaction, dnsKey, WITNESS_KEYS, witnessView } from "../../sidecar/core/region-activity.ts";
import { WitnessClient } from "../../sidecar/region/witness-client.ts";
import { RegionWorld, REGIONS } from "../support/region-world.ts";
import { eventually } from "../support/redis-servers.ts";
import { TestWitness } from "../support/test-witness.ts";

const DNS = dnsKey("api.test");

describe("the witness client with a real etcd of three members", function () {
  this.timeout(60_000);
  let world: RegionWorld;
  let witness: TestWitness;
  let client: WitnessClient;

  before(async function () {
    this.timeout(300_000); // packages may have to be fetched
    world = await RegionWorld.make();
    witness = await TestWitness.start({
      folder: world.folder,
      regions: REGIONS,
      tls: world.path("witness"),
      client: world.tls("beijing"),
    });
    client = clientOf();
  });
  after(async () => {
    world?.stop();
    await witness?.stop(world.folder);
  });

  function clientOf(changes: { callTimeoutMillis?: number; passwordFile?: string } = {}): WitnessClient {
    const config = world.config("beijing", (name) => witness.url(name));
    return new WitnessClient({ ...config, witness: { ...config.witness, ...changes } }, world.tls("beijing"));
  }
  const view = async () => witnessView(await client.read(WITNESS_KEYS.prefix, DNS), DNS);
  const claim = async (epoch: number, region = "beijing", ttl = 5) => {
    const lease = await client.grant(ttl);
    const record = { region, epoch, since: "2026-01-01T00:00:00Z" };
    const done = await client.commit(
      claimTransaction(await view(), { record, systemId: "1", lease, dns: { key: DNS, value: "{}" } }),
    );
    return { lease, done };
  };

  it("claims once, keeps the lease, and sees the record go with it", async () => {
    assert.deepEqual(await view(), {
      epoch: undefined,
      active: undefined,
      last: undefined,
      system: undefined,
      dns: undefined,
      broken: undefined,
    });
    const empty = await view();
    const { lease, done } = await claim(1, "beijing", 2);
    assert.ok(done);
    const seen = await view();
    assert.equal(seen.broken, undefined);
    assert.deepEqual(
      [seen.epoch?.value, seen.active?.region, seen.active?.lease, seen.last, seen.dns],
      [1, "beijing", lease, "beijing", "{}"],
    );

    const record = { region: "shanghai", epoch: 1, since: "" };
    const again = claimTransaction(empty, { record, systemId: "1", lease, dns: { key: DNS, value: "x" } });
    assert.equal(await client.commit(again), false, "what the decision rested on has changed");
    assert.equal((await view()).dns, "{}", "and nothing of it was written");

    for (let i = 0; i < 4; i++) {
      assert.equal(await client.keepAlive(lease), 2);
      await new Promise((resolve) => setTimeout(resolve, 800));
    }
    assert.equal((await view()).active?.region, "beijing", "kept over its time to live");
    await eventually("the record is gone", 15_000, async () => (await view()).active === undefined);
    assert.equal(await client.keepAlive(lease), 0, "a dead lease is told by its time to live");
    const dead = { compare: [], puts: [{ key: WITNESS_KEYS.active, value: "x", lease }] };
    await assert.rejects(client.commit(dead), /requested lease not found/);
    const after = await view();
    assert.deepEqual([after.epoch?.value, after.last, after.active], [1, "beijing", undefined]);
    assert.equal((await claim(2, "beijing", 60)).done, true);
  });

  it("says who its members are, and which one leads", async () => {
    const members = await client.members();
    assert.deepEqual(
      members.map(({ region }) => region),
      ["beijing", "shanghai", "shenzhen"],
    );
    assert.ok(members.every(({ healthy, version }) => healthy && /^3\./.test(version)));
    assert.equal(members.filter(({ leader }) => leader).length, 1);
  });

  it("may only write what is its own", async () => {
    await assert.rejects(client.commit({ compare: [], puts: [{ key: "/other", value: "x" }] }), /permission denied/);
    const wrong = clientOf({ passwordFile: world.path("patroni-password") });
    await assert.rejects(wrong.grant(5), (error: Error) => {
      assert.match(error.message, /authentication failed/);
      assert.doesNotMatch(error.message, /patroni-password-00001/);
      return true;
    });
  });

  it("goes on with a member lost, and logs in again at one that restarted", async () => {
    const config = world.config("beijing", () => witness.url("beijing"));
    const alone = new WitnessClient(config, world.tls("beijing"));
    await alone.read(WITNESS_KEYS.prefix, DNS);
    await witness.kill("beijing");
    await eventually("another member answers", 10_000, async () => (await view()).last === "beijing");
    assert.equal((await client.members()).filter(({ healthy }) => healthy).length, 2);
    witness.resume("beijing");
    await eventually("all are back", 20_000, async () => (await client.members()).every(({ healthy }) => healthy));
    // The member's tokens went with its process.
    assert.equal((await alone.read(WITNESS_KEYS.prefix, DNS)).length, 5);
  });

  it("bears a member that hangs: one time-out, and it is asked last from then on", async () => {
    const fresh = clientOf();
    witness.freeze("beijing");
    try {
      const took = async () => {
        const begun = performance.now();
        await fresh.read(WITNESS_KEYS.prefix, DNS);
        return performance.now() - begun;
      };
      // Should the leader have hung, the others first have to elect another one.
      await eventually("another member answers", 10_000, async () => (await took()) > 0);
      const second = await took();
      assert.ok(second < 900, `${second} ms`);
    } finally {
      witness.thaw("beijing");
    }
  });

  it("fails in bounded time without a majority, and recovers", async () => {
    await witness.kill("shanghai");
    await witness.kill("shenzhen");
    const begun = performance.now();
    await assert.rejects(view(), /no member of the witness answered: .*beijing/);
    assert.ok(performance.now() - begun < 6000, "three time-outs at most, and two to log in");
    witness.resume("shanghai");
    witness.resume("shenzhen");
    await eventually("the majority is back", 20_000, async () => (await view()).last === "beijing");
  });
});

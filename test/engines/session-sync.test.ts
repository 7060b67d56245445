import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { PATHS } from "../../sidecar/core/session-protocol.ts";
import { CLOCK_MARGIN_MILLIS } from "../../sidecar/core/session-log.ts";
import { parseClusterNodes } from "../../sidecar/core/redis-nodes.ts";
import { inRanges, keySlot } from "../../sidecar/core/redis-slots.ts";
import { eventually } from "../support/redis-servers.ts";
import { FAST_LINK, Network, SessionSite, type Controller } from "../support/session-site.ts";

describe("copying of sessions between two real Redis Clusters", function () {
  this.timeout(120_000);
  const resources = { cpu: "10m", cpuLimit: "1", memory: "512Mi" };
  const beijing = new SessionSite("beijing", [FAST_LINK], { nodeTimeoutMillis: 2000, resources });
  const shanghai = new SessionSite("shanghai", [FAST_LINK], { resources });
  const network = new Network();
  let source: Controller;
  let target: Controller;
  const signal = new AbortController().signal;

  before(async function () {
    this.timeout(600_000); // the image may have to be built
    await Promise.all([beijing.start(6, 3), shanghai.start(3, 3)]);
    source = beijing.controller(network, false);
    network.controllers["beijing"] = [source];
    await eventually("the source follows its masters", 20_000, async () => {
      return (await source.sync.handle(PATHS.changes, new URLSearchParams(), signal)) !== undefined;
    });
    shanghai.source = "beijing";
    target = shanghai.controller(network, true);
    await eventually("the first walk is over", 20_000, () => status().lagSeconds !== undefined);
  });
  after(async () => {
    await Promise.all([source?.stop(), target?.stop()]);
    await Promise.all([beijing.stop(), shanghai.stop()]);
  });
  afterEach(function () {
    if (this.currentTest?.state !== "failed") return;
    for (const site of [beijing, shanghai])
      for (const line of site.log.slice(-30)) process.stdout.write(`${site.region} ${JSON.stringify(line)}\n`);
  });

  const status = () => target.sync.links()[0]!;
  /** Every key whose value is copied, with its value, by asking all masters. */
  async function contents(site: SessionSite): Promise<Map<string, string>> {
    const all = new Map<string, string>();
    for (const node of site.app.nodes("master")) {
      let cursor = "0";
      do {
        const [next, keys] = await node.scan(cursor, "COUNT", 1000);
        cursor = next;
        for (const key of keys) {
          if (!/^(session|user_session|server_sessions):/.test(key)) continue;
          const dump = await node.dumpBuffer(key).catch(() => null);
          if (dump) all.set(key, dump.toString("base64"));
        }
      } while (cursor !== "0");
    }
    return all;
  }
  const same = async () => {
    const [there, here] = await Promise.all([contents(beijing), contents(shanghai)]);
    assert.equal(here.size, there.size);
    assert.deepEqual(new Map([...here].sort()), new Map([...there].sort()));
    return true;
  };
  const writeMany = (prefix: string, count: number, from = 0) =>
    Promise.all(
      Array.from({ length: count }, (_, i) => {
        const n = from + i;
        const key = `session:{${(n % 997).toString(16)}}.${prefix}-${n}`;
        return beijing.app
          .multi()
          .hset(key, { userId: `user ${n}`, role: "user" })
          .expire(key, 600)
          .exec();
      }),
    );

  it("brings a session with its time to live within the link's interval", async () => {
    const times: number[] = [];
    for (let i = 0; i < 10; i++) {
      const key = `session:{${i}}.first`;
      await beijing.app.hset(key, { userId: "7", role: "admin" });
      await beijing.app.pexpire(key, 90_000);
      times.push(await eventually("it is there", 20_000, async () => (await shanghai.app.pttl(key)) > 0, 10));
      assert.deepEqual(await shanghai.app.hgetall(key), { userId: "7", role: "admin" });
      const [there, here] = await Promise.all([beijing.app.pexpiretime(key), shanghai.app.pexpiretime(key)]);
      assert.equal(here, there);
    }
    process.stdout.write(`      there after ${times.map((time) => time.toFixed(0)).join(", ")} ms\n`);
    const { healthy, lagSeconds } = status();
    assert.equal(healthy, true);
    assert.ok(lagSeconds! < 5, `${lagSeconds}`);
  });

  it("copies every type and any bytes in a key, and follows deletes and expiry", async () => {
    const odd = Buffer.concat([Buffer.from("session:{1},a b\n"), Buffer.from([0, 0xff, 0xc3])]);
    await beijing.app.set(odd, Buffer.from([0, 1, 0xff]));
    await beijing.app.zadd("server_sessions:{iam-api-1}", "1", "one", "2", "two");
    await beijing.app.set("user_session:{1}.7", "first", "EX", 600);
    await beijing.app.sadd("session:{1}.set", "a", "b");
    await beijing.app.rpush("session:{1}.list", "a", "b");
    await beijing.app.set("session:{1}.short", "x", "PX", 700);
    await eventually("all are there", 20_000, same, 50);
    assert.deepEqual(await shanghai.app.getBuffer(odd), Buffer.from([0, 1, 0xff]));
    assert.deepEqual(await shanghai.app.zrange("server_sessions:{iam-api-1}", "0", "-1"), ["one", "two"]);
    await beijing.app.del(odd, "session:{1}.set");
    await eventually(
      "they are gone",
      20_000,
      async () => (await shanghai.app.exists(odd, "session:{1}.set")) === 0,
      20,
    );
    await eventually("it has expired", 20_000, async () => (await shanghai.app.exists("session:{1}.short")) === 0, 20);
    await eventually("all is the same", 20_000, same, 50);
  });

  it("drops the target's copy of a cached entry that changes, whose value never travels", async () => {
    await shanghai.app.set("cache:{9}.user", "old copy");
    await beijing.app.set("cache:{9}.user", "secret-of-the-cache");
    await beijing.app.set("other:{9}", "secret-of-another");
    await eventually("it is dropped", 20_000, async () => (await shanghai.app.exists("cache:{9}.user")) === 0, 20);
    await shanghai.app.set("cache:{9}.kept", "fresh");
    await sleep(600);
    assert.equal(await shanghai.app.get("cache:{9}.kept"), "fresh");
    assert.equal(await shanghai.app.exists("cache:{9}.user", "other:{9}"), 0);
    for (const { text } of network.passed) {
      for (const secret of ["secret-of-the-cache", "secret-of-another"])
        assert.ok(!text.includes(secret) && !text.includes(Buffer.from(secret).toString("base64").slice(0, -4)));
    }
    assert.ok(network.passed.some(({ text }) => text.includes("cache:{9}.user")));
  });

  it("counts an error when the link is cut for longer than its tries, and goes on without a walk over all keys", async () => {
    const walks = network.count(PATHS.snapshot);
    network.cut = true;
    await eventually("an error is counted", 5000, () => status().errors > 0, 20);
    await writeMany("cut", 500);
    await beijing.app.del("session:{0}.first");
    await sleep(1500);
    assert.ok(status().lagSeconds! > 1, `${status().lagSeconds}`);
    assert.equal(status().lastError, "connection refused");
    network.cut = false;
    await eventually("nothing is lost", 30_000, same, 50);
    assert.equal(network.count(PATHS.snapshot), walks);
    await eventually("it is well again", 5000, () => status().lagSeconds === 0, 20);
  });

  it("never asks for or gets more keys than a batch may have", () => {
    const sizes = network.passed.map(({ text }) => (JSON.parse(text) as { entries?: unknown[] }).entries?.length ?? 0);
    assert.equal(Math.max(...sizes), 100);
  });

  it("copies all again when the source's controller restarts, and what was deleted meanwhile goes", async () => {
    await source.stop();
    for (const key of ["session:{1}.first", "session:{2}.first"]) assert.equal(await beijing.app.del(key), 1);
    await writeMany("restart", 50);
    const walks = network.count(PATHS.snapshot);
    source = beijing.controller(network, false);
    network.controllers["beijing"] = [source];
    await eventually("all is the same", 40_000, same, 100);
    assert.ok(network.count(PATHS.snapshot) > walks);
    assert.equal(await shanghai.app.exists("session:{1}.first"), 0);
  });

  it("goes on at another controller of the source without a walk over all keys", async () => {
    const second = beijing.controller(network, false);
    try {
      await eventually("it follows", 10_000, async () => {
        await second.sync.handle(PATHS.changes, new URLSearchParams(), signal);
        return true;
      });
      // By so much earlier it has to have begun: the margin for clocks, and two of its looks at the masters.
      await sleep(CLOCK_MARGIN_MILLIS + 4000);
      const walks = network.count(PATHS.snapshot);
      network.controllers["beijing"] = [source, second];
      await writeMany("turns", 700);
      await eventually("all is the same", 30_000, same, 50);
      network.controllers["beijing"] = [second];
      await writeMany("turns", 100, 1000);
      await eventually("all is the same", 30_000, same, 50);
      assert.equal(network.count(PATHS.snapshot), walks);
    } finally {
      await source.stop();
      source = second;
      network.controllers["beijing"] = [source];
    }
  });

  it("goes on where it was when the receiver is killed in the middle of a batch", async () => {
    const walks = network.count(PATHS.snapshot);
    let batches = 0;
    const killed = new Promise<void>((resolve) => {
      network.onAnswer = () => {
        if (++batches !== 4) return;
        network.onAnswer = () => {};
        void target.stop().then(resolve);
      };
    });
    await writeMany("killed", 1500);
    await killed;
    await beijing.app.del("session:{3}.first");
    target = shanghai.controller(network, true);
    await eventually("all is the same", 40_000, same, 50);
    assert.equal(network.count(PATHS.snapshot), walks);
  });

  it("copies all again when the target's masters may have lost what was written", async () => {
    const [node] = shanghai.servers.nodes;
    await shanghai.servers.restartContainer(node!);
    await eventually("it serves again", 20_000, async () => {
      // As if they had not been on disk yet.
      for (const key of ["session:{4}.first", "session:{5}.first", "session:{7}.first"]) await shanghai.app.del(key);
      return true;
    });
    assert.equal(await beijing.app.exists("session:{4}.first"), 1);
    await eventually("all is the same", 40_000, same, 100);
  });

  it("finds keys that differ, and only those", async () => {
    const check = async () => {
      let keys = 0;
      let differences = 0;
      for (let i = 0; i < 12; i++) {
        const result = await target.sync.checkKeys("beijing", signal);
        keys += result.keys;
        differences += result.differences;
      }
      return { keys, differences };
    };
    const clean = await check();
    assert.ok(clean.keys > 500, `${clean.keys}`);
    assert.equal(clean.differences, 0);
    const all = [...(await contents(shanghai)).keys()].filter((key) => key.includes("killed"));
    for (const key of all.slice(0, 500)) await shanghai.app.hset(key, "role", "admin");
    for (const key of all.slice(500, 1000)) await shanghai.app.del(key);
    for (let i = 0; i < 300; i++) await shanghai.app.set(`session:{x${i}}.extra`, "1");
    const dirty = await target.sync.checkKeys("beijing", signal);
    process.stdout.write(`      ${dirty.differences} differences in ${dirty.keys} keys\n`);
    assert.ok(dirty.differences > 10);
    // What was found to differ is mended from the source, without anybody's hand.
    await eventually("all is the same again", 60_000, same, 200);
    assert.equal((await check()).differences, 0);
  });

  it("writes nothing once the region is active, and copies all anew when it has been", async () => {
    const key = "session:{6}.mine";
    await beijing.app.set(key, "of beijing");
    await eventually("it is there", 20_000, async () => (await shanghai.app.get(key)) === "of beijing", 20);
    shanghai.source = undefined;
    await eventually("writes have ended", 2000, () => !target.sync.writing, 10);
    assert.deepEqual(target.sync.links(), []);
    await shanghai.app.set(key, "of shanghai");
    await shanghai.app.set("session:{6}.other", "of shanghai");
    await beijing.app.set(key, "of beijing again");
    await sleep(1000);
    assert.equal(await shanghai.app.get(key), "of shanghai");
    shanghai.epoch = 3;
    shanghai.source = "beijing";
    await eventually("all is the source's", 20_000, same, 100);
    assert.equal(await shanghai.app.get(key), "of beijing again");
    assert.equal(await shanghai.app.exists("session:{6}.other"), 0);
  });

  it("writes nothing of an answer that was on its way when the region became active", async () => {
    const key = "session:{8}.late";
    network.onAnswer = (path) => {
      if (!path.startsWith(PATHS.changes) || !network.passed.at(-1)!.text.includes(key)) return;
      shanghai.source = undefined;
      network.onAnswer = () => {};
    };
    await beijing.app.set(key, "old");
    await eventually("it was asked for", 5000, () => shanghai.source === undefined, 10);
    await sleep(500);
    assert.equal(await shanghai.app.exists(key), 0);
    shanghai.source = "beijing";
    await eventually("all is the source's", 20_000, same, 100);
  });

  it("bears values that together or alone are bigger than an answer, and leaves out one that is too big to travel", async () => {
    const bytes = (mebibytes: number) => randomBytes(mebibytes * 1024 ** 2);
    const from = network.passed.length;
    for (const name of ["a", "b", "c"]) await beijing.app.set(`session:{big}.${name}`, bytes(3), "EX", 600);
    await beijing.app.set("session:{big}.bigger", bytes(4.5), "EX", 600);
    await beijing.app.set("session:{big}.dump", bytes(6), "EX", 600);
    await beijing.app.set("session:{big}.estimate", bytes(20), "EX", 600);
    // Five fields say nothing of the sixth.
    const lopsided = Object.fromEntries(Array.from({ length: 300 }, (_, i) => [`small ${i}`, "x"]));
    await beijing.app.hset("session:{big}.lopsided", { ...lopsided, big: bytes(4) });
    await writeMany("beside", 50);
    const tooBig = ["session:{big}.dump", "session:{big}.estimate"];
    await eventually("the rest is there", 20_000, async () => {
      const there = await contents(beijing);
      for (const key of tooBig) there.delete(key);
      const here = await contents(shanghai);
      return here.size === there.size && here.get("session:{big}.bigger") === there.get("session:{big}.bigger");
    });
    assert.equal(await shanghai.app.hlen("session:{big}.lopsided"), 301);
    assert.match(status().detail, /values were too big to be copied/);
    const sizes = network.passed.slice(from).map(({ text }) => text.length);
    assert.ok(Math.max(...sizes) < 8 * 1024 ** 2, `${Math.max(...sizes)}`);
    for (const name of ["a", "b", "c", "bigger", "dump", "estimate", "lopsided"])
      await beijing.app.del(`session:{big}.${name}`);
    await eventually("all is the same", 30_000, same, 100);
  });

  it("gives the ACL user no other key, no other channel and no way to read a cached entry", async () => {
    await beijing.app.set("cache:{9}.user", "secret-of-the-cache");
    const asks = async (...command: [string, ...string[]]) => {
      for (const node of beijing.servers.nodes) {
        const answer = await beijing.servers.ask(node, "sync", ...command).catch((error: unknown) => String(error));
        if (!answer.includes("MOVED")) return answer;
      }
      return "MOVED";
    };
    for (const command of [
      ["GET", "cache:{9}.user"],
      ["DUMP", "cache:{9}.user"],
      ["GET", "other:{9}"],
      ["SET", "other:{9}", "x"],
      ["UNLINK", "other:{9}"],
      ["RESTORE", "other:{9}", "0", "x"],
      ["SUBSCRIBE", "another"],
      ["SCAN", "0"],
      ["CONFIG", "GET", "*"],
      ["ACL", "LIST"],
      ["EVAL", "return 1", "0"],
      ["FLUSHALL"],
      ["CLUSTER", "FAILOVER"],
    ] as [string, ...string[]][])
      assert.match(await asks(...command), /NOPERM/, command.join(" "));
    assert.equal(await asks("SET", "iam-ha:sync:test", "x"), "OK");
    assert.equal(await asks("UNLINK", "iam-ha:sync:test"), "1");
  });

  it("shows no key and no value in its log", () => {
    const text = JSON.stringify([...beijing.log, ...shanghai.log]);
    assert.doesNotMatch(text, /session:\{|cache:\{|secret-of/);
    assert.ok(!text.includes("sync-password"));
  });

  it("carries many keys", async () => {
    await writeMany("speed", 20_000);
    const caughtUp = () => status().lagSeconds === 0 && status().pendingKeys === 0;
    /** Keys a second once so many have piled up while the link was cut. */
    const changed = async (count: number) => {
      network.cut = true;
      const errors = status().errors;
      await eventually("it is cut", 5000, () => status().errors > errors, 20);
      await writeMany("speed", count);
      const from = network.passed.length;
      network.cut = false;
      const took = await eventually("changes are there", 60_000, () => network.passed.length > from && caughtUp(), 10);
      const bytes = network.passed.slice(from).reduce((sum, { text }) => sum + text.length, 0);
      return `${((count * 1000) / took).toFixed(0)} changed keys/s, ${(bytes / count).toFixed(0)} bytes each`;
    };
    process.stdout.write(`      ${await changed(20_000)}\n`);
    network.onAnswer = () => sleep(30);
    process.stdout.write(`      answers 30 ms away: ${await changed(5000)}\n`);
    network.onAnswer = () => {};
    shanghai.epoch = 4;
    await eventually("the walk has begun", 5000, () => status().lagSeconds === undefined, 5);
    const took = await eventually("the walk is over", 60_000, caughtUp, 10);
    const all = (await contents(beijing)).size;
    process.stdout.write(`      walk over ${all} keys: ${((all * 1000) / took).toFixed(0)} keys/s\n`);
    await eventually("all is the same", 40_000, same, 100);
  });

  it("converges after a failover of the source's master during writes", async () => {
    const views = await Promise.all(
      beijing.servers.nodes.map(async (node) => ({
        node,
        self: parseClusterNodes(await beijing.servers.ask(node, "keeper", "CLUSTER", "NODES")).self,
      })),
    );
    const victim = views.find(({ self }) => self.slots.length > 0)!.node;
    let stopped = false;
    let written = 0;
    const writer = (async () => {
      for (let i = 0; !stopped; i++) {
        const key = `session:{${i % 50}}.during-${i % 400}`;
        const ended = await beijing.app.set(key, String(i), "EX", 600).catch(() => undefined);
        if (ended === "OK") written++;
        else await sleep(20);
      }
    })();
    await sleep(1000);
    await beijing.servers.kill(victim);
    const at = performance.now();
    await eventually("another one serves", 30_000, async () => {
      const slot = await Promise.all([0, 1, 2, 3, 4, 5, 6, 7].map((i) => beijing.app.set(`session:{f${i}}.x`, "1")));
      return slot.every((answer) => answer === "OK");
    });
    process.stdout.write(`      a replica served after ${((performance.now() - at) / 1000).toFixed(1)} s\n`);
    await sleep(1000);
    stopped = true;
    await writer;
    assert.ok(written > 100);
    await eventually("all is the same", 30_000, same, 200);
    process.stdout.write(`      the same after ${((performance.now() - at) / 1000).toFixed(1)} s, ${written} writes\n`);
  });

  it("converges after a master of the source was frozen and another one took its place", async () => {
    const views = await Promise.all(
      beijing.servers.nodes
        .filter((node) => node.process !== undefined)
        .map(async (node) => ({
          node,
          self: parseClusterNodes(await beijing.servers.ask(node, "keeper", "CLUSTER", "NODES")).self,
        })),
    );
    const followed = views.find(({ self }) => self.masterId !== undefined)!.self.masterId;
    const { node } = views.find(({ self }) => self.id === followed)!;
    node.process!.kill("SIGSTOP");
    try {
      await eventually("another one serves", 30_000, async () => {
        await Promise.all(Array.from({ length: 16 }, (_, i) => beijing.app.set(`session:{z${i}}.x`, "1")));
        return true;
      });
    } finally {
      node.process!.kill("SIGCONT");
    }
    await writeMany("thawed", 300);
    await eventually("all is the same", 30_000, same, 200);
  });

  it("goes on with the other masters when one and its replica are lost, and leaves the lost slots' keys", async function () {
    this.timeout(200_000);
    const views = await Promise.all(
      beijing.servers.nodes
        .filter((node) => node.process !== undefined)
        .map(async (node) => ({
          node,
          self: parseClusterNodes(await beijing.servers.ask(node, "keeper", "CLUSTER", "NODES")).self,
        })),
    );
    const alone = views.find(
      ({ self }) => self.slots.length > 0 && !views.some((other) => other.self.masterId === self.id),
    )!;
    const isLost = (key: string) => inRanges(alone.self.slots, keySlot(key));
    const keys = Array.from({ length: 60 }, (_, i) => `session:{lost${i}}.x`);
    for (const key of keys) await beijing.app.set(key, "before");
    await eventually("all is the same", 40_000, same, 200);
    await beijing.servers.kill(alone.node);
    const served = keys.filter((key) => !isLost(key));
    for (const key of served)
      await eventually("it is written", 10_000, async () => (await beijing.app.set(key, "after")) === "OK");
    const took = await eventually(
      "the others are followed",
      90_000,
      async () => (await Promise.all(served.map((key) => shanghai.app.get(key)))).every((value) => value === "after"),
      500,
    );
    process.stdout.write(`      the others were followed after ${(took / 1000).toFixed(0)} s\n`);
    // A shard counts as lost only after half a minute; until then the link does not call itself whole.
    await eventually("the walk is over", 90_000, () => status().lagSeconds === 0);
    const lost = keys.filter(isLost);
    assert.ok(lost.length > 0 && served.length > 0);
    for (const key of lost) assert.equal(await shanghai.app.get(key), "before");
    await beijing.servers.restartContainer(alone.node);
    await eventually("all is the same", 40_000, same, 200);
  });

  it("ends when told to", async () => {
    await Promise.all([source.stop(), target.stop()]);
    await assert.rejects(source.sync.handle(PATHS.changes, new URLSearchParams(), signal), /not followed/);
  });
});

import assert from "node:assert/strict";
import { readdirSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { eventually } from "../support/redis-servers.ts";
import { base64, WitnessServers } from "../support/witness-servers.ts";

const REGIONS = ["beijing", "shanghai", "shenzhen"] as const;

describe("the witness with three real members", function () {
  this.timeout(300_000); // a time-out is for a machine that is short of CPU
  const witness = new WitnessServers(REGIONS);
  /** The members' numbers; asked again while the leader changes. */
  const ids = async () => {
    let list: Awaited<ReturnType<typeof witness.list>> = {};
    await eventually("a list of members", 60_000, async () => (list = await witness.list("beijing")) !== undefined);
    return Object.fromEntries(Object.entries(list).map(([region, { id }]) => [region, id]));
  };
  /** Writes, again while the leader changes: that a write goes through at all is meant here. */
  const write = (region: string, key: string, value: string) =>
    eventually(`a write at ${region}`, 60_000, async () => {
      await witness.put(region, key, value);
      return true;
    });
  const others = (region: string) => REGIONS.filter((one) => one !== region);
  const isWhole = (asked: string) =>
    eventually(`three started members, asked at ${asked}`, 120_000, async () => {
      const list = await witness.list(asked);
      return Object.keys(list).length === 3 && Object.values(list).every(({ started }) => started);
    });

  before(async function () {
    this.timeout(600_000); // the image may have to be built
    await witness.prepare();
  });
  after(() => witness.close());
  afterEach(function () {
    if (this.currentTest?.state !== "failed") return;
    for (const region of REGIONS) process.stdout.write(`--- ${region}\n${witness.log(region).slice(-6000)}\n`);
  });

  it("a single member waits for a majority, stays up and is ready", async () => {
    witness.start("shenzhen");
    await eventually("it says that it waits", 60_000, () => witness.log("shenzhen").includes('"waits"'));
    await sleep(3000);
    assert.ok(witness.running("shenzhen"));
    for (const what of ["alive", "ready"])
      assert.equal((await witness.beside("shenzhen", "witness-probe", what)).code, 0, what);
    await assert.rejects(witness.login("shenzhen", "dns"), /ECONNREFUSED/);
    assert.equal(witness.file("shenzhen", "data/member/wal"), undefined);
  });

  it("two found it, with authentication on; the third joins later", async () => {
    witness.start("beijing");
    const took = await witness.settled("beijing");
    await witness.settled("shenzhen");
    witness.start("shanghai");
    const joined = await eventually("shanghai takes part", 120_000, async () => {
      await witness.put("shanghai", "/iam-ha/epoch", "1");
      return true;
    });
    await isWhole("beijing");
    process.stdout.write(`      founded in ${ms(took)}, the third joined in ${ms(joined)}\n`);
  });

  it("refuses whoever shows no certificate, no password or a wrong one", async () => {
    await assert.rejects(
      witness.post("beijing", "/v3/kv/range", { key: base64("/iam-ha/epoch") }, { certificate: false }),
      /certificate required/i,
    );
    const nobody = await witness.post("beijing", "/v3/kv/range", { key: base64("/iam-ha/epoch") });
    assert.deepEqual([nobody.status, nobody.body["message"]], [400, "etcdserver: user name is empty"]);
    const forged = await witness.post("beijing", "/v3/kv/range", { key: base64("/iam-ha/epoch") }, { token: "x.1" });
    assert.equal(forged.status, 401);
    await assert.rejects(witness.login("beijing", "region-controller", "wrong"), /authentication failed/);
  });

  it("lets controllers alone write, under their prefixes; DNS reads its own", async () => {
    const put = (user: "dns" | "region-controller", key: string) =>
      witness.as(user, "shanghai", "/v3/kv/put", { key: base64(key), value: base64("x") });
    assert.equal((await put("region-controller", "/skydns/com/example")).status, 200);
    assert.equal((await put("region-controller", "/elsewhere")).status, 403);
    assert.equal((await put("dns", "/skydns/com/example")).status, 403);
    assert.equal((await put("dns", "/iam-ha/epoch")).status, 403);
    const read = (key: string) => witness.as("dns", "shanghai", "/v3/kv/range", { key: base64(key) });
    assert.equal((await read("/skydns/com/example")).status, 200);
    assert.equal((await read("/iam-ha/epoch")).status, 403);
    for (const call of ["member/remove", "member/add"]) {
      const body = call.endsWith("add") ? { peerURLs: ["https://nobody:2380"] } : { ID: "1" };
      assert.equal((await witness.as("region-controller", "beijing", `/v3/cluster/${call}`, body)).status, 403, call);
    }
    const users = (await witness.as("root", "beijing", "/v3/auth/user/list", {})).body["users"];
    assert.deepEqual(users, ["dns", "region-controller", "root"]);
  });

  it("admits as peers only certificates with the members' name", async () => {
    // The client's certificate is of the same authority: at the peers' port it is of no use.
    const { code, output } = await witness.beside(
      "beijing",
      "python3",
      "-c",
      [
        "import ssl,urllib.request as u",
        "c=ssl.create_default_context(cafile='/etc/witness-tls/ca.crt')",
        "c.load_cert_chain('/etc/witness-tls/tls.crt','/etc/witness-tls/tls.key')",
        `print(u.urlopen('https://witness-shanghai.iam.test:2380/members',context=c,timeout=5).status)`,
      ].join("\n"),
    );
    assert.deepEqual([code, output.trim()], [0, "200"]);
    await assert.rejects(witness.peer("shanghai", "/members"), /ECONNRESET|bad certificate|socket hang up|alert/i);
  });

  it("goes on when any one member is lost, and takes it back with its volume", async () => {
    const before = await ids();
    for (const region of REGIONS) {
      const [asked] = others(region);
      const wasLeader = (await witness.leader(asked!)) === region;
      await witness.stop(region);
      const gap = await eventually(`writes without ${region}`, 60_000, async () => {
        await witness.put(asked!, "/iam-ha/test/gap", region, 300);
        return true;
      });
      process.stdout.write(`      ${region} killed${wasLeader ? ", the leader" : ""}: writes go on after ${ms(gap)}\n`);
      witness.start(region);
      await eventually(
        `${region} is back`,
        30_000,
        async () => (await witness.get(region, "/iam-ha/test/gap")) === region,
      );
    }
    assert.deepEqual(await ids(), before);
  });

  it("hands the leadership over when the leader is told to stop", async () => {
    const leader = (await witness.leader("beijing"))!;
    const [asked] = others(leader);
    await write(asked!, "/iam-ha/test/handover", "0");
    const stopping = witness.stop(leader, "SIGTERM");
    const gap = await eventually("writes go on", 60_000, async () => {
      if ((await witness.leader(asked!)) === leader) return false;
      await witness.put(asked!, "/iam-ha/test/handover", leader, 300);
      return true;
    });
    await stopping;
    process.stdout.write(`      leader stopped: another one serves after ${ms(gap)}\n`);
    witness.start(leader);
    await isWhole(leader);
  });

  it("a member whose volume is lost takes its place again by itself, under a new number", async () => {
    const before = await ids();
    await witness.stop("shenzhen");
    await write("beijing", "/iam-ha/epoch", "2");
    witness.loseVolume("shenzhen");
    witness.start("shenzhen");
    const took = await eventually("shenzhen has the data", 120_000, async () => {
      return (await witness.get("shenzhen", "/iam-ha/epoch")) === "2";
    });
    await isWhole("beijing");
    const after = await ids();
    assert.notEqual(after["shenzhen"], before["shenzhen"]);
    assert.deepEqual([after["beijing"], after["shanghai"]], [before["beijing"], before["shanghai"]]);
    process.stdout.write(`      rejoined in ${ms(took)}\n`);
  });

  it("goes on after a kill between its entry and its start, with and without the note of it", async () => {
    for (const forgets of [false, true]) {
      await witness.stop("shanghai");
      witness.loseVolume("shanghai");
      // A program in etcd's place that ends at once: it is added, and never starts.
      const bin = join(witness.member("shanghai").folder, "config/etcd");
      writeFileSync(bin, "#!/bin/sh\nexit 1\n", { mode: 0o755 });
      witness.start("shanghai", { PATH: "/etc/witness:/usr/local/bin:/usr/sbin:/usr/bin:/bin" });
      await eventually("it is added and unstarted", 120_000, async () => {
        return (
          (await witness.list("beijing"))["shanghai"]?.started === false &&
          witness.file("shanghai", "claim") !== undefined
        );
      });
      await witness.stop("shanghai");
      const claim = witness.file("shanghai", "claim");
      assert.equal((await ids())["shanghai"], claim);
      await write("beijing", "/iam-ha/test/unstarted", String(forgets));
      if (forgets) witness.loseVolume("shanghai");
      witness.start("shanghai");
      await isWhole("shenzhen");
      assert.equal((await ids())["shanghai"] === claim, !forgets);
      await eventually("it has the data", 90_000, async () => {
        return (await witness.get("shanghai", "/iam-ha/test/unstarted")) === String(forgets);
      });
    }
  });

  it("a member with an empty volume never founds another witness while one that formed has no majority", async () => {
    await witness.stop("shanghai");
    await witness.stop("beijing");
    witness.loseVolume("beijing");
    const from = witness.log("beijing").length;
    witness.start("beijing");
    await eventually("it waits", 90_000, () =>
      /a formed witness is known to shenzhen/.test(witness.log("beijing").slice(from)),
    );
    await sleep(3000);
    assert.equal(witness.file("beijing", "claim"), undefined);
    assert.ok(!/founds the witness/.test(witness.log("beijing").slice(from)));
    witness.start("shanghai");
    await isWhole("shanghai");
    await eventually(
      "beijing has the data",
      30_000,
      async () => (await witness.get("beijing", "/iam-ha/epoch")) === "2",
    );
  });

  it("a member that was removed meanwhile sets its data aside and joins anew", async () => {
    await witness.stop("shenzhen");
    const before = await ids();
    const number = BigInt(`0x${before["shenzhen"]}`).toString();
    const answer = await witness.as("root", "beijing", "/v3/cluster/member/remove", { ID: number });
    assert.equal(answer.status, 200);
    witness.start("shenzhen");
    await eventually("it is back", 120_000, async () => (await witness.get("shenzhen", "/iam-ha/epoch")) === "2");
    await isWhole("beijing");
    assert.notEqual((await ids())["shenzhen"], before["shenzhen"]);
    assert.ok(readdirSync(join(witness.member("shenzhen").folder, "data/aside/member")).includes("wal"));
  });

  it("a member whose log is damaged sets it aside and joins anew", async () => {
    await witness.stop("shanghai");
    const wal = join(witness.member("shanghai").folder, "data/data/member/wal");
    for (const file of readdirSync(wal).filter((name) => name.endsWith(".wal"))) {
      const bytes = readFileSync(join(wal, file));
      for (let i = 200; i < 2000; i++) bytes[i]! ^= 0x5a;
      writeFileSync(join(wal, file), bytes);
    }
    const from = witness.log("shanghai").length;
    witness.start("shanghai");
    await eventually("it is back", 120_000, async () => (await witness.get("shanghai", "/iam-ha/epoch")) === "2");
    assert.match(witness.log("shanghai").slice(from), /set aside/);
    await isWhole("beijing");
  });

  it("a member whose database is damaged sets it aside and joins anew", async () => {
    await witness.stop("shanghai");
    truncateSync(join(witness.member("shanghai").folder, "data/data/member/snap/db"), 4096);
    const from = witness.log("shanghai").length;
    witness.start("shanghai");
    await eventually("it is back", 120_000, async () => (await witness.get("shanghai", "/iam-ha/epoch")) === "2");
    assert.match(witness.log("shanghai").slice(from), /set aside/);
    await isWhole("beijing");
  });

  it("data of an earlier founding never meets another witness that was founded without it", async () => {
    for (const region of REGIONS) await witness.stop(region);
    for (const region of others("shenzhen")) {
      witness.loseVolume(region);
      witness.start(region);
    }
    await witness.settled("beijing");
    await eventually("nothing of the old data", 60_000, async () => {
      return (await witness.get("beijing", "/iam-ha/epoch")) === undefined;
    });
    const from = witness.log("shenzhen").length;
    witness.start("shenzhen");
    const said = () => witness.log("shenzhen").slice(from);
    await eventually("it says so", 60_000, () => /have founded another witness/.test(said()));
    await sleep(3000);
    assert.ok(!/set aside|founds/.test(said()));
    assert.equal((await witness.beside("shenzhen", "witness-probe", "ready")).code, 0);
    await write("beijing", "/iam-ha/test/new", "1");
    assert.ok(readdirSync(join(witness.member("shenzhen").folder, "data/data/member/wal")).length > 0);
  });

  it("with two members lost for good, the third goes on alone on a person's word, and the others join it", async () => {
    for (const region of REGIONS) await witness.stop(region);
    for (const region of others("shenzhen")) {
      witness.loseVolume(region);
      witness.configure(region, { mayFound: false });
      witness.start(region);
    }
    // The two are a majority, empty, and cannot reach the third: they may not found.
    for (const region of others("shenzhen")) {
      const from = witness.log(region).length;
      await eventually(`${region} waits`, 60_000, () =>
        /mayFound is false/.test(witness.log(region).slice(from - 4000)),
      );
    }
    writeFileSync(join(witness.member("shenzhen").folder, "data/force-new-cluster"), "");
    witness.start("shenzhen");
    for (const region of REGIONS)
      await eventually(
        `${region} has the data`,
        60_000,
        async () => (await witness.get(region, "/iam-ha/epoch")) === "2",
      );
    await isWhole("shenzhen");
    assert.equal(witness.file("shenzhen", "force-new-cluster"), undefined);
    for (const region of others("shenzhen")) witness.configure(region);
  });

  it("takes changed passwords over, root's too, and does not fight over one that differs", async () => {
    // Only a region whose passwords worked once may change them.
    await eventually("beijing has seen them work", 120_000, () => {
      const seen = JSON.parse(witness.file("beijing", "accepted.json") ?? "{}") as { accepted?: object };
      return Object.keys(seen.accepted ?? {}).length === 3;
    });
    const old = { ...witness.passwords };
    for (const user of ["dns", "region-controller", "root"] as const) {
      witness.passwords[user] = `${old[user]}-changed`;
      witness.setPassword("beijing", user);
    }
    await eventually("the new ones work", 90_000, async () => {
      for (const user of ["dns", "region-controller", "root"] as const) await witness.login("shanghai", user);
      return true;
    });
    await assert.rejects(witness.login("shanghai", "dns", old.dns), /authentication failed/);
    // The other regions still have the old ones: they say so, and change nothing.
    await witness.stop("shenzhen", "SIGTERM");
    witness.start("shenzhen");
    await eventually("it says so", 90_000, () => /of this region is not the witness's/.test(witness.log("shenzhen")));
    await witness.login("shenzhen", "root");
    for (const region of ["shanghai", "shenzhen"])
      for (const user of ["dns", "region-controller", "root"] as const) witness.setPassword(region, user);
    await eventually("all agree", 120_000, () => /password agrees again/.test(witness.log("shenzhen")));
  });

  it("never wrote a password into a log", () => {
    for (const region of REGIONS)
      for (const password of Object.values(witness.passwords))
        assert.ok(!witness.log(region).includes(password.replace(/-changed$/, "")));
  });

  it("TERM ends all members with 0", async () => {
    for (const region of REGIONS) {
      const child = witness.member(region).process!;
      await witness.stop(region, "SIGTERM");
      assert.equal(child.exitCode, 0, region);
    }
  });
});

describe("the witness of a single region", function () {
  this.timeout(150_000);
  const witness = new WitnessServers(["beijing"]);
  before(() => witness.prepare());
  after(() => witness.close());

  it("is a cluster of one member", async () => {
    witness.start("beijing");
    await witness.settled("beijing");
    assert.deepEqual(Object.keys(await witness.list("beijing")), ["beijing"]);
  });
});

const ms = (time: number) => `${Math.round(time)} ms`;

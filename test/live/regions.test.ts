import assert from "node:assert/strict";
import { setTimeout as pause } from "node:timers/promises";
import { DEFAULT_LINKS, linkBetween } from "../../sidecar/core/link.ts";
import { endpointName, globalName } from "../../components/common/names.ts";
import { edgeRequest } from "../../scripts/start/login.ts";
import { INSTANCE, place, region, statusOf, waitFor } from "./region.ts";

const DOMAIN = "iam.example.com";
const ACTIVE = region("beijing");
const OTHERS = ["shanghai", "shenzhen"];
const ALL = [ACTIVE.name, ...OTHERS];

/** Asks the API pods of a region directly, as its own edge would: whatever region is active. */
async function askApi(name: string, path: string, token: string): Promise<{ status: number; body: string }> {
  const script = `
    const https = require("node:https"), fs = require("node:fs"), dir = "/etc/nginx/client-tls/";
    let token = ""; process.stdin.on("data", (d) => (token += d)).on("end", () => {
      https.get({ host: "iam-api-1", port: 3000, path: process.argv[1], servername: "iam-api", timeout: 5000,
        cert: fs.readFileSync(dir + "tls.crt"), key: fs.readFileSync(dir + "tls.key"), ca: fs.readFileSync(dir + "ca.crt"),
        headers: { authorization: "Bearer " + token.trim() } }, (res) => {
          let body = ""; res.on("data", (d) => (body += d)).on("end", () => console.log(JSON.stringify({ status: res.statusCode, body })));
      }).on("error", (e) => { console.error(e.message); process.exit(1); });
    });`;
  const pods = await region(name).kubectl(["get", "pods", "-l", "app.kubernetes.io/name=edge", "-o", "name"]);
  const pod = pods.trim().split("\n")[0]!.replace("pod/", "");
  const out = await region(name).exec(pod, "edge-sidecar", ["node", "-e", script, path], { stdin: token });
  return JSON.parse(out) as { status: number; body: string };
}

/** Asks a region's name server from inside of one of its database pods. */
async function resolveIn(name: string, host: string): Promise<string[]> {
  const out = await region(name).exec(await region(name).leader(), "postgres", ["getent", "ahostsv4", host]);
  return [...new Set(out.split("\n").map((line) => line.split(" ")[0]!))].filter(Boolean);
}

describe("three regions", function () {
  it("agree on who is active, under one epoch, with three members of the witness", async () => {
    const all = await waitFor(
      "every region to know the active one",
      async () => {
        const found = await Promise.all(ALL.map(statusOf));
        return found.every(({ active, witness }) => active !== undefined && witness.members.length === 3)
          ? found
          : undefined;
      },
      120_000,
      1000,
    );
    for (const status of all) {
      assert.equal(status.active?.region, ACTIVE.name, status.region);
      assert.equal(status.active?.epoch, all[0]!.active?.epoch, status.region);
      assert.ok(
        status.witness.members.every((member) => member.healthy),
        JSON.stringify(status.witness),
      );
    }
  });

  it("hold the same database: one system, one timeline, each standby streaming from the active region", async () => {
    const all = await waitFor(
      "both standby regions to stream",
      async () => {
        const found = await Promise.all(ALL.map(statusOf));
        return found.slice(1).every(({ database }) => database.streaming && database.source === ACTIVE.name)
          ? found
          : undefined;
      },
      120_000,
      1000,
    );
    for (const { database, region: name } of all) {
      assert.equal(database.systemId, all[0]!.database.systemId, name);
      assert.equal(database.timeline, all[0]!.database.timeline, name);
      assert.equal(database.state, name === ACTIVE.name ? "primary" : "standby");
    }
  });

  it("find each other's endpoints, and the platform's one name leads to the active edge, from every region", async () => {
    const edges = await resolveIn(ACTIVE.name, endpointName("api", ACTIVE.name, DOMAIN));
    assert.equal(edges.length, 1);
    for (const from of ALL) {
      for (const endpoint of ["api", "postgresql", "redis", "witness", "region"] as const)
        for (const to of ALL)
          assert.equal(
            (await resolveIn(from, endpointName(endpoint, to, DOMAIN))).length,
            1,
            `${endpoint}-${to} in ${from}`,
          );
      assert.deepEqual(await resolveIn(from, globalName(DOMAIN)), edges, from);
    }
  });

  it("a row written through the active edge is read in the other regions", async () => {
    const { token } = await ACTIVE.logIn();
    const username = `regions-${Date.now()}`;
    const made = await ACTIVE.edge("/api/users", {
      method: "POST",
      token,
      body: { username, password: "correct horse battery", role: "user" },
    });
    assert.equal(made.status, 201, made.body);
    for (const name of OTHERS) {
      await waitFor(`${username} in ${name}`, async () =>
        (await region(name).sql(`select count(*) from users where username = '${username}'`)) === "1"
          ? true
          : undefined,
      );
      const listed = await waitFor(`the API of ${name} to read it`, async () => {
        const answer = await askApi(name, "/api/users", token);
        return answer.status === 200 && answer.body.includes(username) ? answer : undefined;
      });
      assert.equal(listed.status, 200);
    }
  });

  it("a session made in the active region answers in the others within its link's interval, and ends there too", async () => {
    const { token } = await ACTIVE.logIn();
    const begun = Date.now();
    await Promise.all(
      OTHERS.map(async (name) => {
        await waitFor(`the session in ${name}`, async () =>
          (await askApi(name, "/api/auth/session", token)).status === 200 ? true : undefined,
        );
        const took = Date.now() - begun;
        const { intervalMillis } = linkBetween(DEFAULT_LINKS, ACTIVE.name, name)!;
        process.stdout.write(`      ${name}: session after ${took} ms (interval ${intervalMillis} ms)\n`);
        // One interval and the asking itself, on a machine that may be busy.
        assert.ok(took < intervalMillis + 5000, `${name}: ${took} ms`);
      }),
    );
    assert.ok((await ACTIVE.edge("/api/auth/logout", { method: "POST", token })).status < 300);
    for (const name of OTHERS) {
      await waitFor(`the session's end in ${name}`, async () =>
        (await askApi(name, "/api/auth/session", token)).status === 401 ? true : undefined,
      );
    }
  });

  it("an edge of another region serves by the active region", async () => {
    const { token } = await ACTIVE.logIn();
    for (const name of OTHERS) {
      const answer = await edgeRequest(place(name), INSTANCE, "/api/auth/session", { token });
      assert.equal(answer.status, 200, answer.body);
      assert.equal(answer.headers["x-iam-region"], ACTIVE.name);
    }
    assert.equal((await ACTIVE.edge("/api/auth/session", { token })).headers["x-iam-region"], ACTIVE.name);
  });

  it("the lag that is told is the databases' own", async () => {
    for (const name of OTHERS) {
      await waitFor(
        `the lag of ${name} to agree`,
        async () => {
          const sent = await ACTIVE.sql("select pg_current_wal_lsn() - '0/0'");
          const status = await statusOf(name);
          const replayed = await region(name).sql("select pg_last_wal_replay_lsn() - '0/0'");
          const told = status.links.find(({ kind }) => kind === "postgresql");
          assert.ok(told, JSON.stringify(status.links));
          assert.equal(told.source, ACTIVE.name);
          // Nothing much is written now: both must say that next to nothing is missing.
          const own = Math.max(0, Number(sent) - Number(replayed));
          assert.ok(own < 65_536 && (told.lagBytes ?? Infinity) < 65_536, `own ${own}, told ${told.lagBytes}`);
          assert.ok((told.lagSeconds ?? Infinity) < 5, `told ${told.lagSeconds} s`);
          return told.healthy ? true : undefined;
        },
        60_000,
        1000,
      );
    }
  });

  it("the lag that is told grows while a standby does not replay, and goes when it does", async () => {
    const shanghai = region("shanghai");
    const held = await shanghai.leader();
    await ACTIVE.sql("create table if not exists lag_probe (x text)");
    await waitFor("the table in shanghai", async () =>
      (await shanghai.sql("select count(*) from pg_class where relname = 'lag_probe'")) === "1" ? true : undefined,
    );
    // A query that reads the table holds up replay of what needs it alone, for max_standby_streaming_delay at most (30 s).
    const query = shanghai.sql("begin; select count(*) from lag_probe; select pg_sleep(20); commit", { pod: held });
    try {
      await pause(1000);
      await ACTIVE.sql(
        "truncate lag_probe; insert into lag_probe select repeat(md5(i::text), 30) from generate_series(1, 2000) i",
      );
      const { told, own } = await waitFor(
        "lag in bytes and seconds",
        async () => {
          const link = (await statusOf("shanghai")).links.find(({ kind }) => kind === "postgresql")!;
          if (!((link.lagBytes ?? 0) > 1_000_000 && (link.lagSeconds ?? 0) > 3)) return undefined;
          const sent = Number(await ACTIVE.sql("select pg_current_wal_lsn() - '0/0'"));
          const replayed = Number(await shanghai.sql("select pg_last_wal_replay_lsn() - '0/0'", { pod: held }));
          return { told: link.lagBytes!, own: sent - replayed };
        },
        20_000,
        500,
      );
      assert.ok(Math.abs(own - told) < 262_144, `own ${own}, told ${told}`);
    } finally {
      await query;
      await ACTIVE.sql("drop table if exists lag_probe");
    }
    await waitFor("no lag", async () => {
      const link = (await statusOf("shanghai")).links.find(({ kind }) => kind === "postgresql")!;
      return (link.lagBytes ?? Infinity) < 65_536 && link.healthy ? true : undefined;
    });
  });

  it("compare their content and find no difference", async () => {
    for (const name of OTHERS) {
      const { consistency, problems } = await waitFor(
        `content of ${name} compared`,
        async () => {
          const status = await statusOf(name);
          // What changes while it is compared may look different once, and not the next time.
          return status.consistency.rows > 0 && status.consistency.differences === 0 ? status : undefined;
        },
        120_000,
        2000,
      );
      assert.equal(consistency.differences, 0, JSON.stringify(consistency));
      assert.deepEqual(problems, [], name);
    }
  });
});

import assert from "node:assert/strict";
import { bringUp } from "../../scripts/commands/start.ts";
import { readStatus } from "../../scripts/commands/status.ts";
import { setTimeout as pause } from "node:timers/promises";
import { cutRegion, downRegions, mendRegion } from "../../scripts/local/index.ts";
import { INSTANCE, region, statusOf, waitFor } from "../live/region.ts";
import { Ledger } from "./ledger.ts";

const MINUTE = 60_000;
const ACTIVE = region("beijing");
const SHANGHAI = region("shanghai");
const SHENZHEN = region("shenzhen");
const ALL = [ACTIVE, SHANGHAI, SHENZHEN];

/** Waits until every part, every link and the witness are well again, and says how long that took. */
async function allHealthy(what: string, begun: number, limitMs = 4 * MINUTE): Promise<void> {
  let last = "nothing";
  const sickness = (text: string) => {
    last = text;
    return new Error(text);
  };
  await waitFor(
    `${what}: everything healthy again`,
    async () => {
      const parts = (await readStatus(INSTANCE)).filter((row) => !row.healthy);
      if (parts.length > 0)
        throw sickness(parts.map((row) => `${row.region} ${row.pod || row.part}: ${row.detail}`).join("; "));
      for (const { name } of ALL) {
        const status = await statusOf(name);
        const sick = [
          ...status.links
            .filter((link) => !link.healthy)
            .map((link) => `${link.kind} from ${link.source}: ${link.detail}`),
          ...status.witness.members.filter((member) => !member.healthy).map((member) => `witness of ${member.region}`),
          ...status.problems.map((problem) => problem.message),
        ];
        if (status.witness.members.length !== ALL.length)
          sick.push(`${status.witness.members.length} members of the witness`);
        if (name !== ACTIVE.name && (!status.database.streaming || status.links.length < 2)) sick.push("no stream");
        if (sick.length > 0) throw sickness(`${name}: ${sick.join("; ")}`);
      }
      return true;
    },
    limitMs,
    1000,
  );
  process.stdout.write(
    `      everything healthy ${((Date.now() - begun) / 1000).toFixed(1)} s after the fault began; the last that was not: ${last}\n`,
  );
}

/** Every acknowledged row is in every region; nobody else became active meanwhile. */
async function nothingLost(ledger: Ledger): Promise<void> {
  process.stdout.write(
    `      ${ledger.acknowledged.length} writes acknowledged, longest gap ${(ledger.longestGapMillis / 1000).toFixed(1)} s\n`,
  );
  assert.ok(ledger.acknowledged.length > 5, "the drill wrote next to nothing");
  for (const one of ALL)
    await waitFor(`all acknowledged rows in ${one.name}`, async () => {
      const missing = await ledger.missingIn(one);
      if (missing.length > 0) throw new Error(`${missing.length} missing, such as ${missing[0]}`);
      return true;
    });
  assert.equal((await statusOf(ACTIVE.name)).active?.region, ACTIVE.name);
}

async function drill(what: string, fault: () => Promise<void>): Promise<void> {
  const ledger = await Ledger.start(ACTIVE);
  try {
    const begun = Date.now();
    await fault();
    await allHealthy(what, begun);
  } finally {
    await ledger.stop();
  }
  await nothingLost(ledger);
}

describe("drills on three regions, with writes through the active edge", function () {
  this.timeout(10 * MINUTE);

  before(() => allHealthy("before the drills", Date.now()));

  it("the active region's primary is switched over while both others stream: their slots survive", async () => {
    await drill("switchover", async () => {
      const before = await ACTIVE.leader();
      await ACTIVE.exec(before, "postgres", ["patronictl", "switchover", "--force"], { timeoutMs: MINUTE });
      await waitFor("another primary", async () => ((await ACTIVE.leader()) !== before ? true : undefined));
      await waitFor("both slots in use", async () => {
        const slots = await ACTIVE.sql(
          "select count(*) from pg_replication_slots where slot_name in ('shanghai', 'shenzhen') and active",
        );
        return slots === "2" ? true : undefined;
      });
    });
  });

  it("a member of the witness is lost with its data, and comes back", async () => {
    await drill("witness", async () => {
      await SHENZHEN.kubectl(["delete", "pvc", "-l", "app.kubernetes.io/name=witness", "--wait=false"]);
      await SHENZHEN.kubectl(["delete", "pod", "-l", "app.kubernetes.io/name=witness", "--grace-period=0", "--force"]);
      await waitFor("a new volume", async () => {
        const out = await SHENZHEN.kubectl([
          "get",
          "pvc",
          "-l",
          "app.kubernetes.io/name=witness",
          "-o",
          "jsonpath={.items[*].metadata.deletionTimestamp}",
        ]);
        return out.trim() === "" ? true : undefined;
      });
    });
  });

  it("the way to Shenzhen is cut for longer than its retries, and mended", async () => {
    await drill("cut", async () => {
      await cutRegion("shenzhen", { instance: INSTANCE });
      try {
        // 5 tries with 10 s between them, §5.4.2.
        await pause(65_000);
        const status = await statusOf("shenzhen");
        assert.ok(
          status.links.some((link) => link.errors > 0 || !link.healthy),
          JSON.stringify(status.links),
        );
        assert.equal(status.witness.reachable, false);
        assert.notEqual(await SHENZHEN.sql("select count(*) from users"), "0", "a region cut off still answers reads");
      } finally {
        await mendRegion("shenzhen", { instance: INSTANCE });
      }
    });
  });

  it("Shenzhen loses Beijing alone: it streams from Shanghai, and from Beijing again when that is back", async () => {
    const sourceIs = (source: string, limitMs: number) =>
      waitFor(
        `Shenzhen to stream from ${source}`,
        async () => {
          const { database } = await statusOf("shenzhen");
          return database.source === source && database.streaming ? true : undefined;
        },
        limitMs,
        1000,
      );
    await drill("cascade", async () => {
      const begun = Date.now();
      await cutRegion("beijing", { instance: INSTANCE, to: "shenzhen" });
      await cutRegion("shenzhen", { instance: INSTANCE, to: "beijing" });
      try {
        await sourceIs("shanghai", 2 * MINUTE);
        process.stdout.write(`      from Shanghai after ${((Date.now() - begun) / 1000).toFixed(1)} s\n`);
        const written = await ACTIVE.sql("select count(*) from users");
        await waitFor("rows by way of Shanghai", async () =>
          Number(await SHENZHEN.sql("select count(*) from users")) >= Number(written) ? true : undefined,
        );
        const { active, witness } = await statusOf("shenzhen");
        assert.equal(active?.region, ACTIVE.name, "the witness is still reached by its member in Shanghai");
        assert.equal(witness.reachable, true);
      } finally {
        await mendRegion(undefined, { instance: INSTANCE });
      }
      await sourceIs("beijing", 3 * MINUTE);
    });
  });

  it("Shanghai is destroyed and rebuilt from nothing", async () => {
    await drill("rebuilt", async () => {
      await downRegions(["shanghai"], { instance: INSTANCE, wipe: true });
      await bringUp({ regions: ["shanghai"], instance: INSTANCE });
    });
  });
});

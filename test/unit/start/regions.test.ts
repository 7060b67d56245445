import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import type { DeployedRegion } from "../../../scripts/deployment.ts";
import { committedOverlay, regionRole } from "../../../scripts/local/values/overlay.ts";
import { overlaysForShow } from "../../../scripts/local/values/show.ts";
import { readStackTree } from "../../../scripts/render/stack-config.ts";
import type { StartContext } from "../../../scripts/start/context.ts";
import { eachRegion, failureText, inTurn } from "../../../scripts/start/each-region.ts";
import { byPriority } from "../../../scripts/start/order.ts";
import { nodeCount } from "../../../components/redis/settings.ts";
import { parseConfig } from "../../../stacks/config.ts";

const place = (region: string) => ({ region }) as DeployedRegion;
const context = (signal = new AbortController().signal): StartContext => ({
  instance: "unit",
  signal,
  started: 0,
  images: [],
  places: ["beijing", "shanghai", "shenzhen"].map(place),
  waiting: new Set(),
  failures: [],
  timings: {},
});

describe("a start of several regions", () => {
  it("goes on with the regions that are left, and says which failed at what", async () => {
    const start = context();
    await eachRegion(start, "import the images", async ({ region }) => {
      await sleep(5);
      if (region === "shanghai") throw new Error("no room");
    });
    assert.deepEqual(
      start.places.map(({ region }) => region),
      ["beijing", "shenzhen"],
    );
    const seen: string[] = [];
    await eachRegion(start, "become healthy", async ({ region }) => void seen.push(region));
    assert.deepEqual(seen, ["beijing", "shenzhen"]);
    assert.equal(failureText(start.failures), "shanghai failed to import the images: no room");
  });

  it("ends when no region is left, with the reason of each", async () => {
    const start = context();
    await assert.rejects(
      eachRegion(start, "become healthy", async ({ region }) => {
        throw new Error(`${region} is sick`);
      }),
      /beijing failed to become healthy: beijing is sick\nshanghai .*\nshenzhen failed/,
    );
  });

  it("ends when it is interrupted, without calling that a failure", async () => {
    const abort = new AbortController();
    const start = context(abort.signal);
    await assert.rejects(
      eachRegion(start, "become healthy", async () => {
        abort.abort(new Error("interrupted"));
        abort.signal.throwIfAborted();
      }),
      /^Error: interrupted$/,
    );
    assert.deepEqual(start.failures, []);
  });

  it("does some work in turn, whatever becomes of the one before", async () => {
    const turn = inTurn();
    let running = 0;
    const work = (fail: boolean) => async () => {
      assert.equal(++running, 1);
      await sleep(5);
      running--;
      if (fail) throw new Error("failed");
      return "done";
    };
    const results = await Promise.allSettled([turn(work(false)), turn(work(true)), turn(work(false))]);
    assert.deepEqual(
      results.map((result) => result.status),
      ["fulfilled", "rejected", "fulfilled"],
    );
  });

  it("begins with the active region, whatever the order of the names", () => {
    assert.deepEqual(byPriority(["shenzhen", "shanghai", "beijing"]), ["beijing", "shanghai", "shenzhen"]);
    assert.deepEqual(byPriority(["shenzhen", "shanghai"]), ["shanghai", "shenzhen"]);
  });
});

describe("the embedded overlay", () => {
  const configOf = (region: string) => parseConfig(readStackTree(region, overlaysForShow(region, { embedded: true })));

  it("leaves the active region its numbers of pods", () => {
    const { edge, api, pooler, postgres, redis } = configOf("beijing");
    const production = parseConfig(readStackTree("beijing", overlaysForShow("beijing", { embedded: false })));
    assert.equal(regionRole("beijing"), "active");
    assert.deepEqual(
      [edge.replicas, api.replicas, pooler.replicas, postgres.replicas, nodeCount(redis)],
      [
        production.edge.replicas,
        production.api.replicas,
        production.pooler.replicas,
        production.postgres.replicas,
        nodeCount(production.redis),
      ],
    );
  });

  it("gives regions that stand by fewer pods, by their role and not by their name", () => {
    for (const region of ["shanghai", "shenzhen"]) {
      const { edge, api, pooler, postgres, redis } = configOf(region);
      assert.deepEqual([edge.replicas, api.replicas, pooler.replicas, postgres.replicas], [1, 1, 1, 2]);
      assert.equal(nodeCount(redis), 3);
      // As in the active region, so that a takeover finds what it needs.
      assert.deepEqual(postgres.parameters, configOf("beijing").postgres.parameters);
    }
    assert.deepEqual(committedOverlay("disaster"), committedOverlay("standby"));
    assert.notDeepEqual(committedOverlay("active"), committedOverlay("standby"));
  });
});

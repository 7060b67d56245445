import assert from "node:assert/strict";
import { boundsMarkdown } from "../../policies/arithmetic/index.ts";
import { DEFAULT_ASSUMPTIONS } from "../../policies/arithmetic/assumptions.ts";
import { secondsOf } from "../../policies/arithmetic/bound.ts";
import { FUNCTIONS } from "../../policies/arithmetic/functions.ts";
import { recoveryPoints } from "../../policies/arithmetic/recovery-point.ts";
import { recoveryTimes } from "../../policies/arithmetic/recovery-time.ts";
import { durationSeconds } from "../../policies/facts/values.ts";
import { CannotJudge, Stack } from "../../policies/facts/stack.ts";
import { timingsOf } from "../../policies/facts/timings.ts";
import { DEFAULT_REGIONS } from "../../stacks/topology.ts";
import { figuresOf, withFigure } from "../unit/policies/timings.ts";
import { runDirectly } from "./direct.ts";
import { asResource, ChangedStack, realStack } from "./stack.ts";

/** Figures that count in another form of stack only: a pod alone, or without a readiness probe. */
const OTHERWISE = /^(edge|pooler)\.(liveness|grace|toleration)|^controller\.(readiness|liveness|grace)|^api\./;

async function changed(change: (stack: ChangedStack) => void): Promise<Stack> {
  const stack = new ChangedStack(await realStack("beijing"));
  change(stack);
  return new Stack(stack.resources.map(asResource));
}

function allOf(timings: ReturnType<typeof timingsOf>) {
  return [...recoveryTimes(timings, DEFAULT_ASSUMPTIONS), ...recoveryPoints(timings)];
}

describe("bounds of the real stacks", () => {
  for (const region of Object.keys(DEFAULT_REGIONS)) {
    it(`${region}: every bound is a number, and every term names a file, an assumption or an engine`, async () => {
      const timings = timingsOf(new Stack((await realStack(region)).map(asResource)));
      for (const bound of allOf(timings)) {
        assert.ok(Number.isFinite(secondsOf(bound)), bound.name);
        for (const { source } of bound.terms)
          assert.match(
            source,
            /^(ConfigMap|Deployment)\/|^policy config recovery-time\.|^sidecar\/|: |Kubernetes' default/,
          );
      }
    });

    it(`${region}: each figure makes some bound greater`, async () => {
      const timings = timingsOf(new Stack((await realStack(region)).map(asResource)));
      const before = allOf(timings).map(secondsOf);
      for (const path of figuresOf(timings)) {
        if (OTHERWISE.test(path.join("."))) continue;
        const after = allOf(withFigure(timings, path, (value) => value + 1000)).map(secondsOf);
        assert.ok(
          after.some((seconds, i) => seconds > before[i]!),
          `${path.join(".")} is read and never counts`,
        );
      }
    });
  }

  it("are told as tables, with a row for every function, also where no part does it", async () => {
    const text = boundsMarkdown(new Stack((await realStack("beijing")).map(asResource)));
    for (const name of FUNCTIONS) assert.ok(text.includes(name), name);
    assert.match(text, /\| data-services: backup-restoration \| \| no part of the stack does this yet \|/);
    assert.match(
      text,
      /\| the primary's node vanishes without a word \| [0-9.]+ s \| 300 s \| 20 s the lost primary's lock/,
    );
    assert.doesNotMatch(text, /undefined|NaN|no bound/);
    const rows = text.split("\n").filter((line) => line.startsWith("|"));
    for (const row of rows) assert.equal(row.split(/(?<!\\)\|/).length, 7, row);
  });

  it("an archive of WAL brings its term, and a stack that loses synchronous mode another one", async () => {
    // eslint-disable-next-line @typescript-eslint/no-explicit-any -- Patroni's file, as far as it is changed
    const dcs = (change: (dcs: any) => void) =>
      changed((stack) =>
        stack.json("postgresql-patroni", "20-dynamic.yml", (file: { bootstrap: { dcs: object } }) =>
          change(file.bootstrap.dcs),
        ),
      );
    type Dcs = { synchronous_mode: unknown; postgresql: { parameters: object } };
    const archived = await dcs(({ postgresql }: Dcs) =>
      Object.assign(postgresql.parameters, { archive_mode: "on", archive_timeout: "60s" }),
    );
    const archive = recoveryPoints(timingsOf(archived)).find(({ name }) => name === "archive")!;
    assert.deepEqual([secondsOf(archive), archive.functions], [60, ["backup-restoration"]]);
    assert.match(boundsMarkdown(archived), /backup-restoration \| every region's database is lost/);

    const asynchronous = await dcs((file: Dcs) => (file.synchronous_mode = false));
    const primary = recoveryPoints(timingsOf(asynchronous)).find(({ name }) => name === "primary")!;
    assert.equal(secondsOf(primary), 2);
    assert.match(primary.terms[0]!.what, /asynchronous/);
  });

  it("a part without terms, and a file that is missing, cannot be judged", async () => {
    const plans = await changed((stack) =>
      stack.json("region-controller", "region.json", (file: object) => Object.assign(file, { plans: [] })),
    );
    const broken = await changed((stack) => stack.file("postgresql-patroni", "20-dynamic.yml", () => "ttl: 20"));
    assert.throws(() => timingsOf(broken), /20-dynamic\.yml: is no JSON/);
    assert.throws(() => timingsOf(plans), /region\.json plans has no terms/);
    const backup = await changed((stack) => {
      const labels = stack.object("Deployment", "redis-keeper")["metadata"]["labels"] as Record<string, string>;
      labels["app.kubernetes.io/name"] = "backup";
    });
    assert.throws(() => timingsOf(backup), /Deployment\/redis-keeper has no terms/);
    for (const [kind, name] of [
      ["ConfigMap", "redis-config"],
      ["ConfigMap", "pgbouncer-haproxy"],
      ["ConfigMap", "witness-config"],
      ["ConfigMap", "region-controller"],
      ["ConfigMap", "postgresql-patroni"],
      ["Deployment", "edge"],
      ["Service", "edge"],
    ] as const) {
      const without = await changed((stack) => stack.remove(kind, name));
      assert.throws(() => timingsOf(without), CannotJudge, `${kind}/${name}`);
    }
  });

  it("engines' own defaults count where a file does not say", async () => {
    const timings = timingsOf(
      await changed((stack) => {
        stack.file("redis-config", "redis.conf", (text) => text.replace(/cluster-node-timeout.*\n/, ""));
        stack.file("pgbouncer-haproxy", "haproxy.cfg", (text) =>
          text.replace(/ inter 1000ms fastinter 333ms downinter 1000ms fall 2 rise 1/, "").replace("  retries 2\n", ""),
        );
        stack.file("edge", "proxy.conf", (text) => text.replace(/proxy_read_timeout.*\n/, ""));
      }),
    );
    const { pooler } = timings;
    assert.deepEqual(
      [timings.redis.nodeTimeout, pooler.inter, pooler.downInter, pooler.fall, pooler.rise, pooler.retries].map(
        ({ value }) => value,
      ),
      [15, 2, 2, 3, 2, 3],
    );
    assert.match(timings.redis.nodeTimeout.source, /not set: Redis' default/);
    assert.equal(timings.edge.proxyRead.value, 60);
    assert.match(timings.edge.proxyRead.source, /not set: NGINX' default/);
  });

  it("lengths of time are read as each engine writes them", () => {
    const read = (value: string | number, own: "ms" | "s") => durationSeconds(value, own, "x");
    assert.deepEqual(
      [read("30s", "ms"), read("500ms", "s"), read(1500, "ms"), read("5min", "s"), read("2m", "s"), read("-1", "ms")],
      [30, 0.5, 1.5, 300, 120, -0.001],
    );
    assert.throws(() => read("soon", "s"), CannotJudge);
    assert.throws(() => read("1 year", "s"), CannotJudge);
  });

  it("objectives are the rules' configuration, and the message has the sum", async () => {
    const violations = await runDirectly(await realStack("beijing"), {
      config: { "recovery-time": { coreBusinessSeconds: 60 }, "recovery-point": { dataServicesSeconds: 90 } },
    });
    const text = violations.map(({ rule, message }) => `${rule}: ${message}`).join("\n");
    assert.match(
      text,
      /recovery-time: core-business .*the primary's node vanishes.*at most 60 s is allowed\. 20 s .* \+ 2 s/,
    );
    assert.match(
      text,
      /recovery-point: data-services \(cache-synchronization\), beijing is lost.*found 97 s; at most 90 s/,
    );
    await assert.rejects(
      runDirectly(await realStack("beijing"), { config: { "recovery-time": { coreSeconds: 60 } } }),
      /policy config recovery-time\.coreSeconds: unknown key/,
    );
  });
});

import assert from "node:assert/strict";
import { runDirectly } from "./direct.ts";
import { ChangedStack, realStack } from "./stack.ts";

/** What rules say of beijing's stack with a configuration, after a change. */
async function says(rule: string, config: object, change: (stack: ChangedStack) => void = () => {}): Promise<string[]> {
  const stack = new ChangedStack(await realStack("beijing"));
  change(stack);
  return (await runDirectly(stack.resources, { config: { [rule]: config } })).map(
    (one) => `${one.rule}: ${one.message}`,
  );
}

/** Changes the spec of an object. */
const spec = (kind: string, name: string, change: (spec: Record<string, unknown>) => void) => (stack: ChangedStack) =>
  change(stack.object(kind, name)["spec"] as Record<string, unknown>);

describe("choices of the rules of security and change", () => {
  it("unlock one object that holds data, and no other", async () => {
    const unlocked = ["StatefulSet/postgresql-beijing"];
    const open = (stack: ChangedStack) => (stack.registered("StatefulSet", "postgresql-beijing").protect = false);
    assert.deepEqual(await says("data-protected", { unlocked }, open), []);
    const both = await says("data-protected", { unlocked }, (stack) => {
      open(stack);
      stack.registered("StatefulSet", "witness").protect = false;
    });
    assert.equal(both.length, 1);
    assert.match(both[0]!, /StatefulSet\/witness: found protect false/);
  });

  it("let what is deleted be unlocked, and refuse a name of another form", async () => {
    assert.deepEqual(await says("data-protected", { unlocked: ["StatefulSet/gone"] }), []);
    await assert.rejects(
      says("data-protected", { unlocked: ["postgresql-beijing"] }),
      /policy config data-protected\.unlocked\.0: .*must be <kind>\/<name>/,
    );
  });

  it("let a cluster of one node ask for a spread, and not do without", async () => {
    const constraints = (change: (list: { whenUnsatisfiable: string }[]) => unknown) =>
      spec("StatefulSet", "postgresql-beijing", ({ template }) => {
        const pod = (template as { spec: { topologySpreadConstraints: { whenUnsatisfiable: string }[] } }).spec;
        change(pod.topologySpreadConstraints);
      });
    const wish = constraints((list) => (list[0]!.whenUnsatisfiable = "ScheduleAnyway"));
    assert.deepEqual(await says("spread", { demand: false }, wish), []);
    assert.match(
      (
        await says(
          "spread",
          { demand: false },
          constraints((list) => list.splice(0)),
        )
      ).join(),
      /found none/,
    );
  });

  it("take an anti-affinity over nodes for a spread", async () => {
    const apart = (name: string) =>
      spec("StatefulSet", "postgresql-beijing", ({ template }) => {
        const pod = (template as { spec: Record<string, unknown> }).spec;
        delete pod["topologySpreadConstraints"];
        const labelSelector = { matchExpressions: [{ key: "app.kubernetes.io/name", operator: "In", values: [name] }] };
        const term = { topologyKey: "kubernetes.io/hostname", labelSelector };
        pod["affinity"] = { podAntiAffinity: { requiredDuringSchedulingIgnoredDuringExecution: [term] } };
      });
    assert.deepEqual(await says("spread", {}, apart("postgresql")), []);
    assert.match((await says("spread", {}, apart("edge"))).join(), /spread: .*found none/);
  });

  it("let a component be left out, and not one that is there", async () => {
    const without = (stack: ChangedStack) => {
      stack.resources.splice(
        0,
        stack.resources.length,
        ...stack.resources.filter(({ inputs }) => {
          const labels = (inputs["metadata"] as { labels?: Record<string, string> } | undefined)?.labels;
          return labels?.["app.kubernetes.io/name"] !== "global-dns";
        }),
      );
    };
    assert.equal(
      (await says("complete", {}, without)).filter((one) => one.startsWith("complete: global-dns")).length,
      3,
    );
    const left = await says("complete", { without: ["global-dns"] }, without);
    assert.deepEqual(
      left.filter((one) => one.startsWith("complete")),
      [],
    );
    assert.deepEqual(await says("complete", { without: ["global-dns"] }), [
      "complete: config without: found global-dns, which this stack has",
    ]);
    await assert.rejects(says("complete", { without: ["dns"] }), /policy config complete\.without\.0/);
  });

  it("open ports by component, and ports to anywhere", async () => {
    const open = spec("NetworkPolicy", "pgbouncer", (policy) => {
      delete (policy["ingress"] as { from?: unknown }[])[0]!.from;
    });
    const edge = { edge: [8080, 8443, 8082], "global-dns": [53] };
    assert.deepEqual(await says("network-policies", { public: { ...edge, pgbouncer: [6432] } }, open), []);
    assert.match((await says("network-policies", { public: edge }, open)).join(), /port 6432 open to everybody/);
    assert.match((await says("network-policies", { anywhere: [53] })).join(), /found port 443, 6443 open to everybody/);
  });

  it("know settings that only sound like secrets by object and place", async () => {
    const found = await says("plain-secrets", { known: [] });
    assert.deepEqual(found, [
      'plain-secrets: ConfigMap/witness-config data["witness.json"] token: found a value of token in plain; it belongs into a Secret',
    ]);
  });

  it("let budgets of a component without votes go down to one pod", async () => {
    const two = spec("PodDisruptionBudget", "iam-api", (budget) => (budget["maxUnavailable"] = 2));
    assert.deepEqual(await says("disruption-budgets", {}, two), []);
    assert.match(
      (await says("disruption-budgets", { podsPerVote: { "iam-api": 1 } }, two)).join(),
      /PodDisruptionBudget\/iam-api spec: found one that lets 2 of 3 pods go at once; at most 1 may/,
    );
  });

  it("never print the value of a Secret", async () => {
    const stack = new ChangedStack(await realStack("beijing"));
    const values = Object.values(stack.object("Secret", "redis-users")["stringData"] as Record<string, string>);
    const data = stack.object("ConfigMap", "redis-config")["data"] as Record<string, string>;
    data["note"] = values.join("\n");
    data["redis.conf"] += `requirepass ${values[0]}\n`;
    const found = (await runDirectly(stack.resources)).map(({ message }) => message);
    assert.ok(found.length >= 2);
    for (const value of values) assert.ok(!found.join("\n").includes(value));
  });
});

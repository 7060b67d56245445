import assert from "node:assert/strict";
import { ROLE_VALUES } from "../../../components/postgres/patroni.ts";
import { bar } from "../../../scripts/start/progress.ts";
import { assess, type PodFacts, type RegionFacts } from "../../../scripts/status/parts.ts";
import { redisRoles } from "../../../scripts/status/redis-roles.ts";
import { statusTable } from "../../../scripts/status/table.ts";

const labels = (part: string, more: Record<string, string> = {}) => ({ "app.kubernetes.io/name": part, ...more });
const ready = (name: string, part: string, more: Record<string, string> = {}): PodFacts => ({
  metadata: { name, labels: labels(part, more) },
  status: {
    phase: "Running",
    conditions: [{ type: "Ready", status: "True" }],
    containerStatuses: [{ name: part, ready: true, restartCount: 0 }],
  },
});
const facts = (over: Partial<RegionFacts>): RegionFacts => ({
  region: "beijing",
  workloads: [],
  pods: [],
  redisRoles: {},
  ...over,
});
const workload = (name: string, part: string, replicas: number) => ({
  kind: "StatefulSet",
  metadata: { name, labels: labels(part) },
  spec: { replicas },
});

describe("the status board", () => {
  it("shows each pod with its role", () => {
    const rows = assess(
      facts({
        workloads: [workload("postgresql-beijing", "postgresql", 2), workload("redis-beijing", "redis", 1)],
        pods: [
          ready("postgresql-beijing-1", "postgresql", { role: "replica" }),
          ready("postgresql-beijing-0", "postgresql", { role: "primary" }),
          ready("redis-beijing-0", "redis"),
        ],
        redisRoles: { "redis-beijing-0": "master" },
      }),
    );
    assert.deepEqual(
      rows.map((row) => [row.pod, row.role, row.healthy]),
      [
        ["postgresql-beijing-0", "primary", true],
        ["postgresql-beijing-1", "replica", true],
        ["redis-beijing-0", "master", true],
      ],
    );
  });

  it("is unhealthy where pods are missing", () => {
    const rows = assess(facts({ workloads: [workload("edge", "edge", 2)], pods: [ready("edge-a", "edge")] }));
    assert.deepEqual(
      rows.map((row) => [row.healthy, row.detail]),
      [
        [true, ""],
        [false, "1 of 2 pods exist"],
      ],
    );
  });

  it("says why a pod is not ready", () => {
    const pod: PodFacts = {
      metadata: { name: "edge-a", labels: labels("edge") },
      status: {
        phase: "Pending",
        containerStatuses: [
          { name: "nginx", ready: false, restartCount: 3, state: { waiting: { reason: "ImagePullBackOff" } } },
        ],
      },
    };
    assert.equal(
      assess(facts({ workloads: [workload("edge", "edge", 1)], pods: [pod] }))[0]?.detail,
      "nginx: ImagePullBackOff",
    );
  });

  it("does not mind a pod that leaves while enough others are healthy", () => {
    const old: PodFacts = {
      ...ready("edge-old", "edge"),
      metadata: { name: "edge-old", labels: labels("edge"), deletionTimestamp: "now" },
    };
    const rows = assess(facts({ workloads: [workload("edge", "edge", 1)], pods: [old, ready("edge-new", "edge")] }));
    assert.deepEqual(
      rows.map((row) => row.pod),
      ["edge-new"],
    );
  });

  it("is unhealthy where the database has no leader, or two", () => {
    const set = workload("postgresql-beijing", "postgresql", 2);
    const pods = (roles: string[]) => roles.map((role, i) => ready(`p-${i}`, "postgresql", { role }));
    const details = (roles: string[]) =>
      assess(facts({ workloads: [set], pods: pods(roles) }))
        .filter((row) => !row.healthy)
        .map((row) => row.detail);
    assert.deepEqual(details(["primary", "replica"]), []);
    assert.deepEqual(details(["replica", "replica"]), ["has no leader"]);
    assert.deepEqual(details(["primary", "primary"]), ["has 2 leaders: p-0, p-1"]);
  });

  it("tells a standby region's leader from a primary, whatever its label is", () => {
    const leader = (label: string, status?: string): PodFacts => {
      const pod = ready("postgresql-shanghai-0", "postgresql", { role: label });
      return status === undefined ? pod : { ...pod, metadata: { ...pod.metadata, annotations: { status } } };
    };
    const roleOf = (pod: PodFacts) =>
      assess(facts({ workloads: [workload("postgresql-shanghai", "postgresql", 1)], pods: [pod] })).map((row) => [
        row.role,
        row.healthy,
      ]);
    assert.deepEqual(roleOf(leader("primary", '{"role":"standby_leader","state":"running"}')), [
      ["standby leader", true],
    ]);
    assert.deepEqual(roleOf(leader(ROLE_VALUES.standbyLeader)), [["standby leader", true]]);
    assert.deepEqual(roleOf(leader("primary", '{"role":"primary"}')), [["primary", true]]);
    assert.deepEqual(roleOf(leader("primary", "{")), [["primary", true]]);
  });

  it("reads Redis' roles by pod", () => {
    const answer = [
      "07c3 10.11.0.7:6379@16379,redis-beijing-0.redis-nodes.iam.svc.cluster.beijing myself,master - 0 0 1 connected 0-5460",
      "18d4 10.11.0.8:6379@16379,redis-beijing-3.redis-nodes.iam.svc.cluster.beijing slave,fail 07c3 0 0 1 connected",
      "",
    ].join("\n");
    assert.deepEqual(redisRoles(answer), { "redis-beijing-0": "master", "redis-beijing-3": "replica (failed)" });
  });

  it("prints as a table with a closing line", () => {
    const text = statusTable(
      [{ region: "beijing", part: "edge", pod: "edge-a", role: "", healthy: false, detail: "nginx: not ready" }],
      false,
    );
    assert.match(text, /^region {3}part {2}pod {5}role {2}health {6} detail$/m);
    assert.match(text, /NOT HEALTHY {2}nginx: not ready/);
    assert.match(text, /1 of 1 not healthy$/);
    assert.equal(statusTable([], false), "nothing was started");
  });
});

describe("the progress bar", () => {
  it("is empty, half and full, and never outside of its frame", () => {
    assert.equal(bar(0), `[${" ".repeat(24)}]   0 %`);
    assert.equal(bar(0.5), `[${"=".repeat(11)}>${" ".repeat(12)}]  50 %`);
    assert.equal(bar(1), `[${"=".repeat(24)}] 100 %`);
    assert.equal(bar(7), bar(1));
    assert.equal(bar(-1), bar(0));
  });
});

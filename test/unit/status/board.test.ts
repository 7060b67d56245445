import assert from "node:assert/strict";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { boardOf, isHealthy } from "../../../scripts/commands/status.ts";
import { boardProblems, boardText } from "../../../scripts/status/board.ts";
import { readReport } from "../../../scripts/status/controllers.ts";
import type { PodFacts, RegionFacts } from "../../../scripts/status/parts.ts";
import { parseReport, type RegionReport } from "../../../scripts/status/report.ts";
import { fit } from "../../../scripts/status/watch.ts";
import type { LinkStatus, RegionStatus } from "../../../sidecar/core/region-status.ts";

const REGIONS = ["beijing", "shanghai", "shenzhen"];

function link(source: string, target: string, over: Partial<LinkStatus> = {}): LinkStatus {
  return {
    source,
    target,
    kind: "postgresql",
    healthy: true,
    lagSeconds: 0.24,
    lagBytes: 2048,
    pendingKeys: undefined,
    errors: 0,
    lastError: undefined,
    batches: undefined,
    detail: "",
    ...over,
  };
}

function regionStatus(region: string, over: Partial<RegionStatus> = {}): RegionStatus {
  const isActive = region === "beijing";
  return {
    region,
    now: "2026-03-01T10:00:00.000Z",
    startedAt: "2026-03-01T09:00:00.000Z",
    active: { region: "beijing", epoch: 3, since: "2026-03-01T09:00:05.000Z" },
    witness: {
      reachable: true,
      members: REGIONS.map((name) => ({ region: name, healthy: true, leader: name === "shanghai", version: "3.5.16" })),
      lastError: undefined,
    },
    database: {
      state: isActive ? "primary" : "standby",
      systemId: "7",
      timeline: 2,
      lsn: "0/3000060",
      replicas: isActive ? 3 : 1,
      source: isActive ? undefined : "beijing",
      streaming: !isActive,
      slots: isActive ? [{ name: "shanghai", active: true, walStatus: "reserved", retainedBytes: 5 * 1024 ** 2 }] : [],
    },
    links: isActive
      ? []
      : [
          link("beijing", region),
          link("beijing", region, { kind: "sessions", lagBytes: undefined, pendingKeys: 12, batches: 40 }),
        ],
    consistency: { checkedAt: isActive ? undefined : "09:59", source: "beijing", rows: 120, keys: 30, differences: 0 },
    problems: [],
    fingerprints: {},
    ...over,
  };
}

const all = (over: Record<string, Partial<RegionStatus>> = {}): RegionReport[] =>
  REGIONS.map((region) => ({ region, status: regionStatus(region, over[region]) }));
const lineOf = (text: string, pattern: RegExp) => text.split("\n").find((line) => pattern.test(line)) ?? "";

describe("the board of the regions", () => {
  it("shows who is active, databases, links, slots, the witness and whether contents agree", () => {
    const text = boardText(all(), false);
    assert.match(text, /^beijing +active +3 +primary +2 +0\/3000060 +3 +-$/m);
    assert.match(text, /^shanghai +standby +3 +standby +2 +0\/3000060 +1 +beijing$/m);
    assert.match(text, /^beijing > shanghai +postgresql +healthy +0\.2 s +2\.0 KiB +0 +-$/m);
    assert.match(text, /^beijing > shenzhen +sessions +healthy +0\.2 s +12 keys +0 +40$/m);
    assert.match(text, /^shanghai +beijing +in use +reserved +5\.0 MiB$/m);
    assert.match(text, /^shanghai +healthy +leader +3\.5\.16$/m);
    assert.match(text, /^beijing +healthy +follower/m);
    assert.match(text, /^shenzhen +beijing +09:59 +120 +30 +0$/m);
    assert.doesNotMatch(text, /problem/);
    assert.deepEqual(boardProblems(all()), []);
    assert.equal(boardText([], false), "");
  });

  it("names links that are not healthy, and why", () => {
    const sick = link("beijing", "shenzhen", {
      healthy: false,
      lagSeconds: undefined,
      lagBytes: undefined,
      errors: 11,
      lastError: "connection refused",
    });
    const reports = all({ shenzhen: { links: [sick] } });
    assert.match(
      lineOf(boardText(reports, false), /NOT HEALTHY/),
      /^beijing > shenzhen +postgresql +NOT HEALTHY +\? +\? +11 +- +connection refused$/,
    );
    assert.deepEqual(boardProblems(reports), ["beijing > shenzhen (postgresql): connection refused"]);
  });

  it("names witness members that some or all regions miss", () => {
    const members = (sick: string[]) =>
      REGIONS.map((region) => ({ region, healthy: !sick.includes(region), leader: region === "beijing", version: "" }));
    const seen = (region: string, sick: string[]) => ({
      [region]: { witness: { reachable: true, members: members(sick), lastError: undefined } },
    });
    const cut = all({ ...seen("beijing", ["shenzhen"]), ...seen("shanghai", ["shenzhen"]) });
    assert.match(boardText(cut, false), /^shenzhen +NOT HEALTHY for beijing, shanghai +follower/m);
    assert.deepEqual(boardProblems(cut), ["the witness' member of shenzhen: not healthy for beijing, shanghai"]);
    const lost = all({
      ...seen("beijing", ["shenzhen"]),
      ...seen("shanghai", ["shenzhen"]),
      ...seen("shenzhen", ["shenzhen"]),
    });
    assert.match(boardText(lost, false), /^shenzhen +NOT HEALTHY +follower/m);
  });

  it("gives a region that does not answer a line, and goes on with the others", () => {
    const reports: RegionReport[] = [
      ...all().slice(0, 2),
      { region: "shenzhen", error: "its controller does not answer" },
    ];
    const text = boardText(reports, false);
    assert.match(text, /^shenzhen +unknown +- +- +- +- +-$/m);
    assert.match(text, /^no-status +shenzhen +its controller does not answer$/m);
    assert.match(text, /^beijing > shanghai /m);
    assert.equal(boardProblems(reports).length, 1);
    const nobody = REGIONS.map((region) => ({ region, error: "away" }));
    assert.equal(boardProblems(nobody).length, 3);
    assert.match(boardText(nobody, false), /unknown/);
  });

  it("tells problems, a witness that is away, nobody active, and regions that disagree", () => {
    const problem = { kind: "timeline-forked", subject: "shanghai", message: "timeline 3 left timeline 2 at 0/30" };
    assert.match(
      boardText(all({ shanghai: { problems: [problem] } }), false),
      /^timeline-forked +shanghai +shanghai +timeline 3 left timeline 2 at 0\/30$/m,
    );
    const away = { witness: { reachable: false, members: [], lastError: "no quorum" }, active: undefined };
    assert.ok(boardProblems(all({ beijing: away })).includes("beijing: witness-away no quorum"));
    assert.match(boardText(all({ beijing: away }), false), /^beijing +unknown +-/m);
    assert.ok(
      boardProblems(all({ beijing: { active: undefined } })).includes(
        "beijing: nobody-active no region is known to be active",
      ),
    );
    const other = { active: { region: "shanghai", epoch: 4, since: "2026-03-01T10:00:00Z" } };
    assert.deepEqual(boardProblems(all({ shanghai: other })), [
      "beijing, shanghai, shenzhen: views-differ beijing says beijing under epoch 3, shanghai says shanghai under epoch 4, shenzhen says beijing under epoch 3",
    ]);
  });

  it("paints what is not as it should be, and nothing else", () => {
    assert.doesNotMatch(boardText(all(), true), /\x1b/); // eslint-disable-line no-control-regex
    const slots = [{ name: "shenzhen", active: false, walStatus: "lost", retainedBytes: undefined }];
    const database = { ...regionStatus("beijing").database, slots };
    const text = boardText(all({ beijing: { database } }), true);
    assert.equal(text.split("\n").filter((line) => line.includes("\x1b[31m")).length, 1);
    const stopped = { ...regionStatus("shanghai").database, streaming: false };
    assert.match(boardText(all({ shanghai: { database: stopped } }), true), /\[31mshanghai +standby .*not streaming/);
  });

  it("decides with the parts whether all is well", () => {
    const part = { region: "beijing", part: "edge", pod: "edge-a", role: "", healthy: true, detail: "" };
    assert.equal(isHealthy({ parts: [part], regions: all() }), true);
    assert.equal(isHealthy({ parts: [part], regions: [] }), true);
    assert.equal(isHealthy({ parts: [], regions: [] }), false);
    assert.equal(isHealthy({ parts: [{ ...part, healthy: false }], regions: all() }), false);
    assert.equal(isHealthy({ parts: [part], regions: [{ region: "beijing", error: "away" }] }), false);
    assert.match(boardOf({ parts: [part], regions: all() }, false), /all 1 healthy\n\nregion +now /);
  });
});

describe("a controller's answer", () => {
  it("is read as it was sent", () => {
    const status = regionStatus("shanghai");
    const report = parseReport("shanghai", JSON.stringify(status));
    assert.ok("status" in report);
    assert.deepEqual(report.status, JSON.parse(JSON.stringify(status)));
  });

  it("is an error in words when it is none", () => {
    const errorOf = (answer: string) => {
      const report = parseReport("shanghai", answer);
      assert.ok("error" in report);
      return report.error;
    };
    assert.match(errorOf(""), /something else than a status: nothing/);
    assert.match(errorOf("<html>\nbad gateway"), /something else than a status: <html>$/);
    assert.match(errorOf("{}"), /can't be read: region: /);
    assert.match(errorOf(JSON.stringify({ ...regionStatus("shanghai"), links: [{}] })), /can't be read: links\.0\./);
    assert.match(errorOf(JSON.stringify(regionStatus("beijing"))), /says that it is beijing's/);
  });
});

describe("the way to a controller's answer", () => {
  const folder = mkdtempSync(join(tmpdir(), "iam-ha-board-"));
  after(() => rmSync(folder, { recursive: true, force: true }));
  const labels = { "app.kubernetes.io/name": "region-controller" };
  const pod = (name: string, ready: boolean, port = "status"): PodFacts => ({
    metadata: { name, labels },
    spec: {
      containers: [
        {
          ports: [
            { name: "api", containerPort: 8443 },
            { name: port, containerPort: 8080 },
          ],
        },
      ],
    },
    status: { phase: "Running", conditions: [{ type: "Ready", status: ready ? "True" : "False" }] },
  });
  const facts = (pods: PodFacts[]): RegionFacts => ({
    region: "shanghai",
    workloads: [{ kind: "Deployment", metadata: { name: "region-controller", labels } }],
    pods,
    redisRoles: {},
  });
  /** A kubectl that runs this script, with the pod as $POD and the command as $*. */
  const access = (script: string) => {
    const kubectl = join(folder, "kubectl");
    writeFileSync(kubectl, `#!/bin/sh\nPOD=$6\n${script}\n`);
    chmodSync(kubectl, 0o755);
    return { kubectl, kubeconfig: "none", context: "none" };
  };
  const answer = `cat <<'END'\n${JSON.stringify(regionStatus("shanghai"))}\nEND`;

  it("leads to a ready pod first, at the port named status", async () => {
    const script = `case "$*" in *"127.0.0.1:8080/status.json"*) ;; *) exit 3 ;; esac; [ "$POD" = b ] || exit 4; ${answer}`;
    const report = await readReport(facts([pod("a", false), pod("b", true)]), "iam", access(script));
    assert.ok(report && "status" in report, JSON.stringify(report));
  });

  it("goes on to another pod", async () => {
    const script = `[ "$POD" = b ] || { echo "no such container" >&2; exit 1; }; ${answer}`;
    const report = await readReport(facts([pod("a", true), pod("b", true)]), "iam", access(script));
    assert.ok(report && "status" in report, JSON.stringify(report));
  });

  it("ends in words where nobody answers, within its time", async () => {
    const begun = Date.now();
    const slow = await readReport(facts([pod("a", true), pod("b", true)]), "iam", access("exec sleep 20"));
    assert.ok(slow && "error" in slow);
    assert.match(slow.error, /its controller does not answer: /);
    assert.ok(Date.now() - begun < 4_500, `${Date.now() - begun} ms`);
    assert.deepEqual(await readReport(facts([]), "iam", access("exit 1")), {
      region: "shanghai",
      error: "no pod of its controller runs",
    });
    assert.deepEqual(await readReport(facts([pod("a", true, "http")]), "iam", access("exit 1")), {
      region: "shanghai",
      error: "a has no container port named status",
    });
  });

  it("is not asked for where a region has no controller", async () => {
    assert.equal(await readReport({ ...facts([]), workloads: [] }, "iam", access("exit 1")), undefined);
  });
});

describe("a board on a terminal", () => {
  it("fits into its rows, and says what is not shown", () => {
    assert.deepEqual(fit("a\nb", 2), ["a", "b"]);
    assert.deepEqual(fit("a\nb\nc\nd", 3), ["a", "b", "… 2 more lines: a taller window shows them"]);
    assert.equal(fit("a\nb", 1).length, 1);
    assert.equal(fit("a\nb", 0).length, 0);
  });
});

import assert from "node:assert/strict";
import fc from "fast-check";
import { DEFAULT_LINKS } from "../../../sidecar/core/link.ts";
import { conflicts, type PeerDatabase, type TimelineHistory } from "../../../sidecar/core/region-conflicts.ts";
import { metricsText } from "../../../sidecar/core/region-metrics.ts";
import { fingerprint, secretProblems, TOPOLOGY, topologyFingerprint } from "../../../sidecar/core/region-secrets.ts";
import type { DatabaseStatus, RegionStatus } from "../../../sidecar/core/region-status.ts";
import { allowed, dnsNames } from "../../../sidecar/region/server.ts";
import { database } from "../../support/region.ts";

const kinds = (own: DatabaseStatus, peer: Partial<DatabaseStatus>, history?: TimelineHistory) =>
  conflicts({
    region: "shanghai",
    own,
    peers: [{ region: "beijing", database: database(peer), history } satisfies PeerDatabase],
    slots: { beijing: "beijing" },
    ownSlot: "shanghai",
  }).map(({ kind, subject }) => `${kind} ${subject}`);
const standby = (changes: Partial<DatabaseStatus> = {}) =>
  database({ state: "standby", source: "beijing", streaming: true, ...changes });

describe("data that went two ways", () => {
  it("nothing is said of a standby that follows", () => {
    assert.deepEqual(kinds(standby(), {}), []);
    assert.deepEqual(kinds(standby(), { state: "unreachable", systemId: undefined, timeline: undefined }), []);
  });

  it("another database, two primaries", () => {
    assert.deepEqual(kinds(standby(), { systemId: "8" }), ["different-system beijing"]);
    assert.deepEqual(kinds(database(), {}), ["two-primaries beijing"]);
  });

  it("a fork: beyond the point at which the source left the timeline, or on a timeline that it does not have", () => {
    const history: TimelineHistory = [
      [1, "0/1000"],
      [2, "0/2000"],
    ];
    assert.deepEqual(kinds(standby({ timeline: 2, lsn: "0/2001" }), { timeline: 3 }, history), [
      "timeline-forked beijing",
    ]);
    assert.deepEqual(kinds(standby({ timeline: 2, lsn: "0/2000" }), { timeline: 3 }, history), []);
    assert.deepEqual(kinds(standby({ timeline: 2, lsn: "0/2001" }), { timeline: 3 }), [], "not known, not claimed");
    assert.deepEqual(kinds(standby({ timeline: 4 }), { timeline: 3 }, history), ["timeline-forked beijing"]);
  });

  it("slots that are lost, or missing where the stream is down", () => {
    const slot = (name: string, walStatus: string) => ({ name, active: false, walStatus, retainedBytes: 0 });
    assert.deepEqual(kinds(database({ slots: [slot("beijing", "lost")] }), { state: "standby" }), [
      "slot-lost beijing",
    ]);
    assert.deepEqual(kinds(standby({ streaming: false }), { slots: [slot("shenzhen", "reserved")] }), [
      "slot-missing beijing",
    ]);
    assert.deepEqual(kinds(standby({ streaming: false }), { slots: [slot("shanghai", "reserved")] }), []);
  });
});

describe("what regions must have alike", () => {
  it("is told by fingerprints that do not tell it, and depend on name and secret", () => {
    const secret = fc.stringMatching(/^[A-Za-z0-9]{16,40}$/);
    fc.assert(
      fc.property(secret, secret, (a, b) => {
        assert.match(fingerprint("x", a), /^[0-9a-f]{12}$/);
        assert.equal(fingerprint("x", a) === fingerprint("x", b), a === b);
        assert.notEqual(fingerprint("x", a), fingerprint("y", a));
      }),
    );
  });

  it("is a problem that names the secret and the region, and never the secret's content", () => {
    const own = { a: "111111111111", b: "222222222222", [TOPOLOGY]: "3" };
    const problems = secretProblems("beijing", own, {
      shanghai: { a: "111111111111", b: "999999999999" },
      shenzhen: { c: "1", [TOPOLOGY]: "4" },
    });
    assert.deepEqual(
      problems.map(({ kind, subject }) => `${kind} ${subject}`),
      ["secret-differs shanghai/b", `config-differs shenzhen/${TOPOLOGY}`],
    );
    assert.match(problems[0]!.message, /shared secret b of beijing is not that of shanghai/);
    assert.doesNotMatch(JSON.stringify(problems), /222|999/);
  });

  it("sees regions that disagree on who is active at first, whatever the order of keys", () => {
    const region = (priority: number, initiallyActive: boolean) => ({
      priority,
      initiallyActive,
      controller: { host: "c", port: 1 },
      postgres: { host: "p", port: 1 },
      slot: "s",
      witness: "https://w",
      edge: { host: "e", port: 1 },
    });
    const print = (regions: Parameters<typeof topologyFingerprint>[0]["regions"]) =>
      topologyFingerprint({ regions, links: [...DEFAULT_LINKS] });
    const one = print({ a: region(1, true), b: region(2, false) });
    assert.equal(print({ b: region(2, false), a: region(1, true) }), one);
    assert.notEqual(print({ a: region(1, false), b: region(2, true) }), one);
  });
});

describe("who may ask what", () => {
  const peers = ["region-shanghai.iam.example.com", "region-shenzhen.iam.example.com"];
  it("any part may ask who is active and what to become; only peers' controllers everything else", () => {
    for (const path of ["/active", "/birth"]) assert.ok(allowed(path, ["edge-client"], peers));
    for (const path of ["/status", "/position", "/digest", "/sessions/batch", "/", "/active/"]) {
      assert.ok(!allowed(path, ["edge-client"], peers), path);
      assert.ok(!allowed(path, [], peers), path);
      assert.ok(!allowed(path, ["region-shanghai.iam.example.com.evil"], peers), path);
      assert.ok(allowed(path, ["region-controller", peers[0]!], peers), path);
    }
  });

  it("names are those that Node.js lists", () => {
    assert.deepEqual(dnsNames("DNS:a.b, IP Address:127.0.0.1, DNS:c"), ["a.b", "c"]);
    assert.deepEqual(dnsNames(undefined), []);
  });
});

describe("metrics", () => {
  const status: RegionStatus = {
    region: "shanghai",
    now: "",
    startedAt: "",
    active: { region: "beijing", epoch: 7, since: "" },
    witness: {
      reachable: true,
      members: [{ region: "beijing", healthy: true, leader: true, version: "3.5" }],
      lastError: undefined,
    },
    database: standby({ slots: [{ name: 'a"b\\', active: true, walStatus: "reserved", retainedBytes: 5 }] }),
    links: [
      {
        source: "beijing",
        target: "shanghai",
        kind: "postgresql",
        healthy: true,
        lagSeconds: 0.5,
        lagBytes: undefined,
        pendingKeys: undefined,
        errors: 0,
        lastError: undefined,
        batches: undefined,
        detail: "",
      },
    ],
    consistency: { checkedAt: undefined, source: undefined, rows: 0, keys: 0, differences: 0 },
    problems: [{ kind: "x", subject: "y", message: "z" }],
    fingerprints: {},
  };

  it("are in Prometheus' format: help and type before samples, each name once, labels escaped", () => {
    const text = metricsText(status, { witnessAgeMillis: 250 });
    const seen = new Set<string>();
    let name = "";
    for (const line of text.trimEnd().split("\n")) {
      const help = /^# HELP ([a-z_]+) .+$/.exec(line);
      if (help) {
        name = help[1]!;
        assert.ok(!seen.has(name), name);
        seen.add(name);
      } else if (line.startsWith("# TYPE")) assert.match(line, new RegExp(`^# TYPE ${name} (gauge|counter)$`));
      else assert.match(line, new RegExp(`^${name}(\\{([a-z]+="([^"\\\\\\n]|\\\\["\\\\n])*",?)+\\})? -?[0-9.e+-]+$`));
    }
    assert.match(text, /^iam_ha_epoch 7$/m);
    assert.match(text, /^iam_ha_active 0$/m);
    assert.match(text, /^iam_ha_link_lag_seconds\{source="beijing",kind="postgresql"\} 0\.5$/m);
    assert.match(text, /^iam_ha_slot_active\{slot="a\\"b\\\\"\} 1$/m);
    assert.match(text, /^iam_ha_witness_age_seconds 0\.25$/m);
    assert.doesNotMatch(text, /lag_bytes|undefined|NaN/);
  });
});

import assert from "node:assert/strict";
import fc from "fast-check";
import {
  isSameProcess,
  nextStep,
  parseRecord,
  parseStat,
  strays,
  type ProcessRecord,
} from "../../../scripts/local/plan/process.ts";

const record: ProcessRecord = { pid: 4242, startTicks: "123456", bootId: "boot-1", fingerprint: "f" };

/** A line of /proc/<pid>/stat: 52 fields, the 22nd being the start time. */
function stat(name: string, state: string, startTicks: string): string {
  const after = Array.from({ length: 49 }, (_, i) => String(i));
  after[18] = startTicks;
  return `4242 (${name}) ${state} ${after.join(" ")}`;
}

describe("a daemon's record", () => {
  it("is read back as it was written", () => {
    assert.deepEqual(parseRecord(JSON.stringify(record)), record);
  });

  it("counts as none when it is not whole", () => {
    const text = JSON.stringify(record);
    fc.assert(
      fc.property(fc.integer({ min: 0, max: text.length - 1 }), (n) => parseRecord(text.slice(0, n)) === undefined),
    );
    for (const bad of [
      "null",
      "[]",
      '{"pid":1}',
      JSON.stringify({ ...record, pid: 1 }),
      JSON.stringify({ ...record, pid: "7" }),
    ]) {
      assert.equal(parseRecord(bad), undefined, bad);
    }
  });

  it("finds the start time behind any program name", () => {
    fc.assert(
      fc.property(fc.string(), fc.nat(), (name, ticks) => {
        assert.deepEqual(parseStat(stat(name, "S", String(ticks))), {
          state: "S",
          parent: 0,
          startTicks: String(ticks),
        });
      }),
    );
  });

  it("reads this very process", async () => {
    const { readFile } = await import("node:fs/promises");
    const seen = parseStat(await readFile("/proc/self/stat", "utf8"));
    assert.match(seen!.startTicks, /^[1-9]\d*$/);
  });

  it("is a living process's only with its pid, its start and its boot", () => {
    assert.ok(isSameProcess(record, "boot-1", stat("etcd", "S", "123456")));
    assert.ok(!isSameProcess(record, "boot-2", stat("etcd", "S", "123456")), "another boot");
    assert.ok(!isSameProcess(record, "boot-1", stat("etcd", "S", "123457")), "the pid was used again");
    assert.ok(!isSameProcess(record, "boot-1", stat("etcd", "Z", "123456")), "dead, not yet reaped");
    assert.ok(!isSameProcess(record, "boot-1", undefined), "no such process");
    assert.ok(!isSameProcess(record, "boot-1", "garbage"), "not a stat line");
  });
});

describe("what a start does with a daemon", () => {
  it("starts a missing one, keeps a current one, restarts an outdated one", () => {
    assert.equal(nextStep(undefined, false, "f"), "start");
    assert.equal(nextStep(record, false, "f"), "start");
    assert.equal(nextStep(record, true, "f"), "keep");
    assert.equal(nextStep(record, true, "g"), "restart");
  });
});

describe("daemons that nobody knows of", () => {
  const seen = [
    { pid: 10, parent: 1, program: "/cache/etcd" },
    { pid: 11, parent: 1, program: "/cache/kube/kubelet" },
    { pid: 12, parent: 11, program: "mount" },
    { pid: 13, parent: 1, program: "/deb/usr/bin/containerd-shim-runc-v2" },
    { pid: 14, parent: 99, program: "/bin/sh" },
  ];

  it("are those without a record, but neither shims nor what a daemon has started", () => {
    assert.deepEqual(strays(seen, new Set([10, 11])), [14]);
    assert.deepEqual(strays(seen, new Set([11])), [10, 14]);
    assert.deepEqual(strays(seen, new Set([10])), [11, 14], "a stray's child ends with it");
    assert.deepEqual(strays(seen, new Set([10, 11, 14])), []);
  });

  it("are never a folder's or a program's name that only resembles a shim", () => {
    assert.deepEqual(strays([{ pid: 9, parent: 1, program: "/containerd-shim/etcd" }], new Set()), [9]);
  });
});

import assert from "node:assert/strict";
import fc from "fast-check";
import { planInstance } from "../../../scripts/local/plan/instance.ts";
import {
  compareVersions,
  kernelFeatures,
  preflight,
  PreflightError,
  type Facts,
} from "../../../scripts/local/plan/preflight.ts";
import { planRegion, regionNames } from "../../../scripts/local/plan/regions.ts";

const GIB = 1024 ** 3;
const instance = planInstance({}, "unit");
const one = { starting: [planRegion(instance, "beijing")], building: true };
const three = { starting: regionNames.map((region) => planRegion(instance, region)), building: true };

const good: Facts = {
  platform: "linux",
  arch: "x64",
  os: { id: "debian", version: "13" },
  uid: 0,
  memoryAvailable: 16 * GIB,
  disks: [
    { use: "state", path: "/var/lib/iam-ha/unit", free: 50 * GIB, type: "ext2/ext3" },
    { use: "cache", path: "/home/x/.cache/iam-ha", free: 50 * GIB, type: "overlay" },
  ],
  cgroups: { version: 2, root: "/sys/fs/cgroup" },
  cgroupControllers: ["cpuset", "cpu", "io", "memory", "pids"],
  kernel: Object.fromEntries(kernelFeatures.map((f) => [f, undefined])) as Facts["kernel"],
  go: "go1.26.8",
  goWanted: "1.25.0",
  portsInUse: [],
};

/** The problems as one text. */
function problems(change: Partial<Facts>, question = one): string {
  return preflight({ ...good, ...change }, question)
    .map(({ found, remedy }) => `${found} ${remedy}`)
    .join("\n");
}

describe("preflight", () => {
  it("lets a fit machine pass", () => {
    assert.deepEqual(preflight(good, three), []);
    assert.equal(problems({ os: { id: "debian", version: "12" } }), "");
  });

  it("names an unsupported system", () => {
    assert.match(
      problems({ os: { id: "ubuntu", version: "24.04" } }),
      /^This machine is ubuntu 24\.04 on x64\. .*Debian 12 or 13/,
    );
    assert.match(problems({ arch: "arm64" }), /on arm64/);
    assert.match(problems({ os: { id: "debian", version: "11" } }), /debian 11/);
    assert.match(
      problems({ platform: "darwin", os: { id: "", version: "" } }),
      /This machine is darwin of unknown version/,
    );
  });

  it("asks for root", () =>
    assert.match(problems({ uid: 1000 }), /^The program runs as user 1000\. .*run it as root\.$/));

  it("wants 6 GiB for one region and 14 for three", () => {
    assert.equal(problems({ memoryAvailable: 6 * GIB }), "");
    assert.match(problems({ memoryAvailable: 6 * GIB - 1 }), /Starting beijing takes 6 GiB/);
    assert.equal(problems({ memoryAvailable: 14 * GIB }, three), "");
    assert.match(problems({ memoryAvailable: 13.5 * GIB }, three), /^13\.5 GiB of memory .* takes 14 GiB/);
  });

  it("wants disk where something will be written", () => {
    const disks = (state: number, cache: number): Facts["disks"] => [
      { ...good.disks[0]!, free: state * GIB },
      { ...good.disks[1]!, free: cache * GIB },
    ];
    assert.match(problems({ disks: disks(3, 50) }), /^3 GiB are free for \/var\/lib\/iam-ha\/unit\. .*IAM_HA_HOME/);
    assert.match(problems({ disks: disks(50, 3) }), /XDG_CACHE_HOME/);
    assert.equal(problems({ disks: disks(20, 12) }, three), "");
    assert.match(problems({ disks: disks(19, 12) }, three), /^19 GiB are free .* 20 GiB are needed/);
    assert.equal(problems({ disks: disks(50, 3) }, { ...one, building: false }), "");
    assert.equal(problems({ disks: disks(3, 50) }, { starting: [], building: true }), "");
  });

  it("refuses a file system that can't carry containers", () => {
    const disks: Facts["disks"] = [{ ...good.disks[0]!, type: "overlay" }, good.disks[1]!];
    assert.match(problems({ disks }), /lies on a file system of type overlay\. .*set IAM_HA_HOME/);
  });

  it("names the port in use, what for, and how to change it", () => {
    const port = one.starting[0]!.ports.https;
    assert.equal(
      problems({ portsInUse: [port] }),
      `Port ${port} of 127.0.0.1, meant for https of beijing, is in use. End the program that listens there (ss -ltnp 'sport = :${port}' shows it), or set IAM_HA_PORT_BASE to the first of 30 free ports.`,
    );
    assert.equal(problems({ portsInUse: [1] }), "");
  });

  it("wants Go, in the version of the modules, only to build", () => {
    assert.match(problems({ go: undefined }), /^Go is not installed\. Install Go 1\.25\.0 or later/);
    assert.match(problems({ go: "go1.24.9" }), /^Go is version 1\.24\.9\./);
    assert.equal(problems({ go: undefined }, { ...one, building: false }), "");
  });

  it("names what the kernel lacks", () => {
    for (const feature of kernelFeatures) {
      const kernel = { ...good.kernel, [feature]: "Operation not supported" };
      assert.match(problems({ kernel }), new RegExp(`^The kernel has no ${feature} \\(Operation not supported\\)\\.`));
    }
    assert.match(problems({ cgroups: undefined }), /^No control groups are mounted/);
    assert.match(problems({ cgroupControllers: ["cpu", "memory"] }), /version 2 lack the controllers cpuset, pids\./);
  });

  it("tells everything at once, in an error as well", () => {
    const all = preflight({ ...good, uid: 1, memoryAvailable: 0, go: undefined }, one);
    assert.equal(all.length, 3);
    const error = new PreflightError(all);
    assert.equal(error.message.split("\n").length, 3);
  });

  it("compares versions as numbers", () => {
    assert.ok(compareVersions("1.9", "1.10") < 0);
    assert.equal(compareVersions("1.25", "1.25.0"), 0);
    assert.ok(compareVersions("1.26rc1", "1.25.3") > 0);
    const version = fc.array(fc.nat(99), { minLength: 1, maxLength: 4 }).map((n) => n.join("."));
    fc.assert(
      fc.property(
        version,
        version,
        (a, b) => Math.sign(compareVersions(a, b)) === -Math.sign(compareVersions(b, a)) || compareVersions(a, b) === 0,
      ),
    );
  });
});

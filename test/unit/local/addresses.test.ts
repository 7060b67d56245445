import assert from "node:assert/strict";
import fc from "fast-check";
import { planInstance } from "../../../scripts/local/plan/instance.ts";
import { hostPorts } from "../../../scripts/local/plan/ports.ts";
import { addresses, clusterDomain, parseRegion, planRegion, regionNames } from "../../../scripts/local/plan/regions.ts";

const instanceName = fc.stringMatching(/^[a-z][a-z0-9-]{0,14}[a-z0-9]$/);

describe("addresses of embedded regions", () => {
  it("give every region ranges of its own", () => {
    const ranges = regionNames.flatMap((region) => [addresses(region).podCidr, addresses(region).serviceCidr]);
    assert.equal(new Set(ranges).size, 2 * regionNames.length);
    assert.ok(ranges.every((range) => /^10\.\d+\.0\.0\/16$/.test(range)));
    assert.equal(new Set(regionNames.map((region) => addresses(region).node)).size, regionNames.length);
  });

  it("keep the API's and the DNS's service address inside the service range", () => {
    for (const region of regionNames) {
      const { serviceCidr, apiService, dnsService, globalDns } = addresses(region);
      const prefix = serviceCidr.replace(/\.0\/16$/, "");
      assert.equal(apiService, `${prefix}.1`);
      assert.equal(dnsService, `${prefix}.10`);
      assert.equal(globalDns, `${prefix}.53`);
    }
  });

  it("give every region a cluster domain of its own", () => {
    assert.deepEqual(regionNames.map(clusterDomain), ["cluster.beijing", "cluster.shanghai", "cluster.shenzhen"]);
  });

  it("name the known regions when an unknown one is asked for", () => {
    assert.throws(
      () => parseRegion("tokyo"),
      /There is no region "tokyo": the embedded regions are beijing, shanghai, shenzhen\./,
    );
    assert.throws(() => parseRegion("toString"), RangeError);
    assert.equal(parseRegion("shanghai"), "shanghai");
  });
});

describe("host ports", () => {
  it("are easy to remember in the default instance", () => {
    assert.deepEqual(hostPorts({ name: "default" }, 1), { api: 16441, https: 8441, http: 8081 });
    assert.deepEqual(hostPorts({ name: "default" }, 3), { api: 16443, https: 8443, http: 8083 });
  });

  it("never meet within an instance, nor reach the range for outgoing connections", () => {
    fc.assert(
      fc.property(instanceName, (name) => {
        const ports = [1, 2, 3].flatMap((index) => Object.values(hostPorts({ name }, index)));
        assert.equal(new Set(ports).size, ports.length);
        assert.ok(ports.every((port) => port > 1024 && port < 32768));
      }),
    );
  });

  it("of another instance never meet those of the default one", () => {
    const taken = new Set([1, 2, 3].flatMap((index) => Object.values(hostPorts({ name: "default" }, index))));
    fc.assert(
      fc.property(instanceName, (name) => {
        fc.pre(name !== "default");
        for (const index of [1, 2, 3]) {
          for (const port of Object.values(hostPorts({ name }, index))) assert.ok(!taken.has(port));
        }
      }),
    );
  });

  it("start where they are told to", () => {
    const instance = planInstance({ IAM_HA_PORT_BASE: "40000" });
    assert.deepEqual(hostPorts(instance, 2), { api: 40002, https: 40012, http: 40022 });
  });
});

describe("an instance", () => {
  it("has its folders where the environment says", () => {
    const env = { IAM_HA_INSTANCE: "drill", IAM_HA_HOME: "/data", XDG_CACHE_HOME: "/cache" };
    assert.deepEqual(planInstance(env), {
      name: "drill",
      state: "/data/drill",
      run: "/run/iam-ha/drill",
      cache: "/cache/iam-ha",
    });
    assert.equal(planInstance({ HOME: "/home/me" }).cache, "/home/me/.cache/iam-ha");
    assert.equal(planInstance({}).state, "/var/lib/iam-ha/default");
  });

  it("refuses names that would not fit a path, a cgroup and a namespace", () => {
    for (const name of ["", "A", "1a", "a/b", "a b", "..", "a-", "a".repeat(17), "a'b"]) {
      assert.throws(() => planInstance({}, name), RangeError, name);
    }
    assert.throws(() => planInstance({ IAM_HA_PORT_BASE: "80" }), /IAM_HA_PORT_BASE is "80"/);
    assert.throws(() => planInstance({ IAM_HA_HOME: "relative" }), /IAM_HA_HOME is "relative"/);
  });

  it("always has room for its sockets in a unix socket's path", () => {
    fc.assert(
      fc.property(instanceName, fc.constantFrom(...regionNames), (name, region) => {
        assert.ok(Buffer.byteLength(planRegion(planInstance({}, name), region).containerdSocket) <= 107);
      }),
    );
  });

  it("shares nothing with another one", () => {
    fc.assert(
      fc.property(instanceName, instanceName, fc.constantFrom(...regionNames), (a, b, region) => {
        fc.pre(a !== b);
        const [x, y] = [planRegion(planInstance({}, a), region), planRegion(planInstance({}, b), region)];
        for (const key of ["netns", "cgroup", "state", "run", "containerdSocket"] as const) {
          assert.notEqual(x[key], y[key]);
        }
      }),
    );
  });
});

import assert from "node:assert/strict";
import fc from "fast-check";
import { isTooWide, parseCidr } from "../../../components/edge/cidr.ts";
import { securityHeaders } from "../../../components/edge/public-settings.ts";
import { edgeSettings, gracePeriodSeconds, workerProcesses } from "../../../components/edge/settings.ts";

/** The problems of a value as `path: message`. */
function problems(value: unknown): string[] {
  const result = edgeSettings.safeParse(value);
  return result.success ? [] : result.error.issues.map((issue) => `${issue.path.join(".")}: ${issue.message}`);
}

function assertProblem(value: unknown, path: string, message: RegExp): void {
  const found = problems(value);
  assert.equal(found.length, 1, found.join("\n"));
  const [text = ""] = found;
  assert.equal(text.slice(0, text.indexOf(":")), path);
  assert.match(text, message);
}

describe("edge settings", () => {
  it("have the design's figures as defaults", () => {
    const s = edgeSettings.parse({});
    assert.deepEqual(
      [s.limits.api, s.limits.login],
      [
        { ratePerSecond: 10, burst: 20 },
        { ratePerSecond: 5, burst: 10 },
      ],
    );
    assert.equal(s.limits.zoneMegabytes, 10);
    const { maxFails, failTimeoutSeconds, keepalive, connectTimeoutSeconds, sendTimeoutSeconds, readTimeoutSeconds } =
      s.upstream;
    assert.deepEqual([maxFails, failTimeoutSeconds, keepalive], [3, 30, 32]);
    assert.deepEqual([connectTimeoutSeconds, sendTimeoutSeconds, readTimeoutSeconds], [5, 60, 60]);
    assert.deepEqual([s.upstream.bufferKilobytes, s.upstream.buffers], [4, 8]);
    assert.deepEqual(s.tls.protocols, ["TLSv1.2", "TLSv1.3"]);
    assert.equal(s.tls.hstsSeconds, 31_536_000);
    assert.equal(s.tls.sessionTimeoutSeconds, 600);
    assert.deepEqual([s.maxBodyMegabytes, s.keepaliveSeconds, s.gzip.level, s.gzip.minBytes], [10, 65, 6, 1024]);
    assert.equal(s.workers.connections, 1024);
    assert.deepEqual(s.loginPaths, ["/api/auth/login"]);
    assert.deepEqual(s.clientAddress, { mode: "direct", trusted: [] });
    assert.equal(s.service.type, "LoadBalancer");
  });

  it("name the field of what is wrong", () => {
    const trusted = ["10.0.0.0/8"];
    assertProblem({ replica: 3 }, "", /replica/);
    assertProblem({ clientAddress: { mode: "direct", trusted } }, "clientAddress.trusted", /must be empty/);
    assertProblem(
      { clientAddress: { mode: "proxy-protocol" } },
      "clientAddress.trusted",
      /must name the load balancers/,
    );
    assertProblem(
      { clientAddress: { mode: "x-forwarded-for", trusted: ["0.0.0.0/0"] } },
      "clientAddress.trusted",
      /wider than/,
    );
    assertProblem(
      { clientAddress: { mode: "x-forwarded-for", trusted: ["10.0.0.1"] } },
      "clientAddress.trusted.0",
      /must be a network/,
    );
    assertProblem({ service: { externalTrafficPolicy: "Cluster" } }, "service.externalTrafficPolicy", /must be Local/);
    assertProblem({ service: { type: "ClusterIP", httpNodePort: 30080 } }, "service.httpNodePort", /only with type/);
    assertProblem(
      { service: { type: "NodePort", loadBalancerSourceRanges: trusted } },
      "service.loadBalancerSourceRanges",
      /LoadBalancer/,
    );
    assertProblem({ serverNames: ["*.example.com"] }, "serverNames.0", /DNS name/);
    assertProblem({ upstream: { keepalive: 600 } }, "upstream.keepalive", /half of workers.connections/);
    assertProblem({ loginPaths: ["/login"] }, "loginPaths.0", /under \/api\//);
    assertProblem({ loginPaths: ["/api/a/../b"] }, "loginPaths.0", /under \/api\//);
    assertProblem({ loginPaths: ["/api/a", "/api/a"] }, "loginPaths", /twice/);
    assertProblem(
      { securityHeaders: { "Strict-Transport-Security": "max-age=0" } },
      "securityHeaders.Strict-Transport-Security",
      /by the edge itself/,
    );
    assertProblem({ securityHeaders: { "X-A": "1", "x-a": "2" } }, "securityHeaders.x-a", /twice/);
    assertProblem({ tls: { protocols: ["TLSv1.1"] } }, "tls.protocols.0", /TLSv1\.2/);
    assertProblem({ tls: { protocols: [] } }, "tls.protocols", /./);
  });

  it("let traffic be spread by nodes where the address does not come from the connection", () => {
    const clientAddress = { mode: "proxy-protocol", trusted: ["10.0.0.0/8"] };
    assert.deepEqual(problems({ service: { externalTrafficPolicy: "Cluster" }, clientAddress }), []);
    assert.deepEqual(problems({ service: { type: "ClusterIP", externalTrafficPolicy: "Cluster" } }), []);
  });

  it("take no header value that could be more than text to NGINX", () => {
    fc.assert(
      fc.property(
        // Mostly what may pass, with a few characters from anywhere.
        fc.string({
          unit: fc.oneof(
            { weight: 9, arbitrary: fc.constantFrom(..."aZ9;=-'{}# ") },
            fc.nat(0x2fff).map((code) => String.fromCharCode(code)),
            fc.constantFrom('"', "\\", "$", "\n"),
          ),
          minLength: 1,
          maxLength: 20,
        }),
        (value) => {
          const accepted = securityHeaders.safeParse({ "X-Any": value }).success;
          assert.equal(accepted, /^[\x20-\x7e]+$/.test(value) && !/["\\$]/.test(value));
        },
      ),
    );
  });

  it("give as many workers as the pod may use cores", () => {
    const workers = (settings: object) => workerProcesses(edgeSettings.parse(settings));
    const resources = (cpuLimit: string) => ({ resources: { cpu: "10m", cpuLimit, memory: "64Mi" } });
    assert.deepEqual(
      ["100m", "1", "1500m", "2", "2.5"].map((limit) => workers(resources(limit))),
      [1, 1, 2, 2, 3],
    );
    assert.equal(workers({ ...resources("4"), workers: { processes: 1 } }), 1);
  });

  it("leave time for the pause and the drain", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 300 }),
        fc.integer({ min: 1, max: 3600 }),
        (preStopSeconds, drainSeconds) => {
          assert.ok(gracePeriodSeconds({ preStopSeconds, drainSeconds }) >= preStopSeconds + drainSeconds + 5);
        },
      ),
    );
  });
});

describe("networks", () => {
  it("are read as what they are", () => {
    fc.assert(
      fc.property(fc.ipV4(), fc.integer({ min: 0, max: 32 }), (address, bits) => {
        assert.deepEqual(parseCidr(`${address}/${bits}`), { address, bits, family: 4 });
        assert.equal(isTooWide(`${address}/${bits}`), bits < 8);
      }),
    );
    fc.assert(
      fc.property(fc.ipV6(), fc.integer({ min: 0, max: 128 }), (address, bits) => {
        // Addresses with an IPv4 tail are valid, too.
        assert.deepEqual(parseCidr(`${address}/${bits}`), { address, bits, family: 6 });
      }),
    );
  });

  it("are not anything else", () => {
    for (const text of [
      "",
      "10.0.0.0",
      "10.0.0.0/33",
      "10.0.0/8",
      "::/129",
      "10.0.0.0/08",
      "10.0.0.0/8;",
      " 10.0.0.0/8",
      "a/8",
    ]) {
      assert.equal(parseCidr(text), undefined, text);
    }
  });
});

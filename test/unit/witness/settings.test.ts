import assert from "node:assert/strict";
import { etcdFlags, ROLES, witnessConfig } from "../../../components/witness/plan.ts";
import { witnessSettings } from "../../../components/witness/settings.ts";

const problems = (input: object) => {
  const result = witnessSettings.safeParse(input);
  return result.success ? [] : result.error.issues.map((issue) => `${issue.path.join(".")}: ${issue.message}`);
};

describe("settings of the witness", () => {
  it("are for a WAN by default: ten heartbeats make an election, and a heartbeat is a round trip of some 30 ms", () => {
    const settings = witnessSettings.parse({});
    assert.ok(settings.heartbeatMillis >= 30);
    assert.ok(settings.electionTimeoutMillis >= 10 * settings.heartbeatMillis);
    assert.equal(settings.storage, "2Gi");
    assert.equal(settings.mayFound, true);
  });

  it("name each wrong value by its path", () => {
    assert.match(problems({ heartbeat: 100 })[0]!, /heartbeat/);
    assert.match(problems({ heartbeatMillis: 5 })[0]!, /^heartbeatMillis: /);
    assert.match(
      problems({ heartbeatMillis: 200 })[0]!,
      /^electionTimeoutMillis: must be at least ten heartbeats \(2000\)/,
    );
    assert.match(problems({ electionTimeoutMillis: 60_000 })[0]!, /^electionTimeoutMillis: /);
    assert.match(
      problems({ storage: "256Mi" })[0]!,
      /^storage: must be at least four times quotaBytes \(536870912 bytes\)/,
    );
    assert.match(
      problems({ resources: { cpu: "10m", cpuLimit: "1", memory: "128Mi" } })[0]!,
      /^resources\.memory: must be at least quotaBytes \+ 64Mi/,
    );
    assert.match(problems({ callTimeoutSeconds: 30 })[0]!, /^callTimeoutSeconds: /);
    assert.match(problems({ terminationGraceSeconds: 10 })[0]!, /^terminationGraceSeconds: /);
    assert.deepEqual(
      problems({
        quotaBytes: 32 * 1024 ** 2,
        storage: "128Mi",
        resources: { cpu: "1", cpuLimit: "1", memory: "96Mi" },
      }),
      [],
    );
  });
});

describe("configuration of a member", () => {
  const settings = witnessSettings.parse({
    heartbeatMillis: 50,
    electionTimeoutMillis: 700,
    autoCompactionMinutes: 30,
  });

  it("names every region's member by the convention", () => {
    const config = witnessConfig({ region: "shanghai", domain: "iam.example.com" }, settings, ["beijing", "shanghai"]);
    assert.equal(config.region, "shanghai");
    assert.deepEqual(config.members, {
      beijing: {
        client: "https://witness-beijing.iam.example.com:2379",
        peer: "https://witness-beijing.iam.example.com:2380",
      },
      shanghai: {
        client: "https://witness-shanghai.iam.example.com:2379",
        peer: "https://witness-shanghai.iam.example.com:2380",
      },
    });
  });

  it("passes the settings to etcd", () => {
    const flags = etcdFlags(settings);
    for (const flag of ["heartbeat-interval=50", "election-timeout=700", "auto-compaction-retention=30m"])
      assert.ok(flags.includes(`--${flag}`), flag);
  });

  it("lets nobody but controllers write", () => {
    for (const [user, { grants }] of Object.entries(ROLES))
      for (const [permission] of grants)
        assert.equal(permission === "read", user !== "region-controller", `${user} ${permission}`);
  });
});

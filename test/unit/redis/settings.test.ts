import assert from "node:assert/strict";
import fc from "fast-check";
import { aclRules, backlogBytes, redisConf, usersAcl } from "../../../components/redis/plan.ts";
import { maxMemoryBytes, nodeCount, redisSettings } from "../../../components/redis/settings.ts";
import { quantityBytes } from "../../../components/common/schema.ts";

const problems = (input: object) => {
  const result = redisSettings.safeParse(input);
  return result.success ? [] : result.error.issues.map((issue) => `${issue.path.join(".")}: ${issue.message}`);
};
const directives = (conf: string) =>
  new Map(
    conf
      .split("\n")
      .filter((line) => line !== "" && !line.startsWith("#"))
      .map((line) => [line.slice(0, line.indexOf(" ")), line.slice(line.indexOf(" ") + 1)]),
  );

describe("settings of Redis", () => {
  it("are the seed's by default", () => {
    const settings = redisSettings.parse({});
    assert.deepEqual([settings.masters, settings.replicasPerMaster, settings.nodeTimeoutMillis], [3, 1, 5000]);
    assert.equal(nodeCount(settings), 6);
  });

  it("name each wrong value by its path", () => {
    assert.match(problems({ masters: 2 })[0]!, /^masters: /);
    assert.match(problems({ nodeTimeoutMs: 5000 })[0]!, /nodeTimeoutMs/);
    assert.match(problems({ evictionPolicy: "allkeys-random" })[0]!, /^evictionPolicy: /);
    assert.match(
      problems({ storage: "2Gi" })[0]!,
      /^storage: must be at least three times maxmemory \(1073741824 bytes/,
    );
    assert.match(
      problems({ minReplicasToWrite: 2 })[0]!,
      /^minReplicasToWrite: must not be over replicasPerMaster \(1\)/,
    );
    assert.match(
      problems({ terminationGraceSeconds: 12 })[0]!,
      /^terminationGraceSeconds: must be at least handoverTimeoutSeconds \+ 5 \(15\)/,
    );
    assert.match(
      problems({ resources: { cpu: "10m", cpuLimit: "1", memory: "32Mi" } })[0]!,
      /^resources\.memory: must be at least 64Mi/,
    );
  });

  it("leave room in the container's memory, whatever its size", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 64, max: 65_536 }),
        fc.integer({ min: 10, max: 80 }),
        (mebibytes, maxMemoryPercent) => {
          const resources = { cpu: "1", cpuLimit: "1", memory: `${mebibytes}Mi` };
          const max = maxMemoryBytes({ resources, maxMemoryPercent });
          assert.ok(Number.isInteger(max) && max > 0);
          assert.ok(max + backlogBytes({ resources }) < quantityBytes(resources.memory));
        },
      ),
    );
  });
});

describe("configuration of Redis", () => {
  it("has the seed's cluster settings, TLS alone and no way to lose sessions silently", () => {
    const conf = directives(redisConf(redisSettings.parse({}), 6379));
    const expected = {
      port: "0",
      "tls-port": "6379",
      "tls-cluster": "yes",
      "tls-replication": "yes",
      "cluster-enabled": "yes",
      "cluster-node-timeout": "5000",
      "cluster-require-full-coverage": "no",
      "cluster-allow-replica-migration": "no",
      "cluster-preferred-endpoint-type": "hostname",
      appendonly: "yes",
      appendfsync: "everysec",
      "maxmemory-policy": "noeviction",
      maxmemory: String(1024 ** 3),
    };
    for (const [name, value] of Object.entries(expected)) assert.equal(conf.get(name), value, name);
  });

  it("follows its settings", () => {
    const conf = directives(
      redisConf(
        redisSettings.parse({
          nodeTimeoutMillis: 7000,
          appendFsync: "always",
          clientCertificates: "required",
          requireFullCoverage: true,
          minReplicasToWrite: 1,
          maxClients: 99,
        }),
        7000,
      ),
    );
    assert.deepEqual(
      [
        "tls-port",
        "cluster-node-timeout",
        "appendfsync",
        "tls-auth-clients",
        "cluster-require-full-coverage",
        "min-replicas-to-write",
        "maxclients",
      ].map((name) => conf.get(name)),
      ["7000", "7000", "always", "yes", "yes", "1", "99"],
    );
  });

  it("holds no password", () => {
    assert.doesNotMatch(
      redisConf(redisSettings.parse({}), 6379) + usersAcl(redisSettings.parse({})),
      /requirepass|masterauth|[>#][0-9a-zA-Z]{16}/,
    );
  });

  it("keeps administration from the application and keys from everyone else", () => {
    const rules = aclRules(redisSettings.parse({}));
    assert.match(rules.iam, /-@admin -@dangerous/);
    for (const user of ["keeper", "node", "sync"] as const)
      assert.match(rules[user], /^resetkeys resetchannels -@all /);
  });

  it("lets the copying between regions read what is copied and only drop what is invalidated", () => {
    const keys = (input: object) => aclRules(redisSettings.parse(input)).sync.match(/[%~&]\S+/g);
    assert.deepEqual(keys({}), [
      "%RW~session:*",
      "%RW~user_session:*",
      "%RW~server_sessions:*",
      "%RW~iam-ha:sync:*",
      "%W~cache:*",
      "&__redis__:invalidate",
    ]);
    assert.deepEqual(keys({ regions: { copy: ["s/"], invalidate: [] } }), [
      "%RW~s/*",
      "%RW~iam-ha:sync:*",
      "&__redis__:invalidate",
    ]);
  });
});

describe("prefixes of keys that concern other regions", () => {
  const regions = (copy: string[], invalidate: string[] = []) => problems({ regions: { copy, invalidate } });

  it("are sessions and caches by default, and may be none", () => {
    assert.deepEqual(redisSettings.parse({}).regions, {
      copy: ["session:", "user_session:", "server_sessions:"],
      invalidate: ["cache:"],
    });
    assert.deepEqual(regions([], []), []);
  });

  it("are refused when empty, when one begins with another, and when they mean something to the ACL", () => {
    assert.match(regions([""])[0]!, /^regions\.copy\.0: must be letters, digits/);
    assert.match(regions(["session:", "session:x"])[0]!, /^regions\.copy\.1: overlaps with "session:"/);
    assert.match(regions(["session:x"], ["session:"])[0]!, /^regions\.invalidate\.0: overlaps with "session:x"/);
    assert.match(regions(["a:", "a:"])[0]!, /^regions\.copy\.1: overlaps with "a:"/);
    for (const prefix of ["iam", "iam-ha:sync:x"])
      assert.match(regions([prefix])[0]!, /^regions\.copy\.0: overlaps with "iam-ha:sync:", which holds how far/);
    for (const prefix of ["a*", "a b", 'a"', "a\n", "[a]", "a?", "\\"])
      assert.match(regions([prefix])[0]!, /^regions\.copy\.0: must be letters/, prefix);
  });

  it("never overlap once accepted", () => {
    const word = fc.stringMatching(/^[ab:]{1,4}$/);
    fc.assert(
      fc.property(fc.array(word, { maxLength: 4 }), fc.array(word, { maxLength: 4 }), (copy, invalidate) => {
        const all = [...copy, ...invalidate];
        const overlap = all.some((a, i) => all.some((b, j) => i !== j && a.startsWith(b)));
        assert.equal(regions(copy, invalidate).length > 0, overlap);
      }),
    );
  });
});

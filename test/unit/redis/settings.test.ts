import assert from "node:assert/strict";
import fc from "fast-check";
import { ACL_RULES, backlogBytes, redisConf, usersAcl } from "../../../components/redis/plan.ts";
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
      redisConf(redisSettings.parse({}), 6379) + usersAcl(),
      /requirepass|masterauth|[>#][0-9a-zA-Z]{16}/,
    );
  });

  it("keeps administration from the application and keys from everyone else", () => {
    assert.match(ACL_RULES.iam, /-@admin -@dangerous/);
    for (const user of ["keeper", "node"] as const) assert.match(ACL_RULES[user], /^resetkeys resetchannels -@all /);
  });
});

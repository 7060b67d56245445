import assert from "node:assert/strict";
import fc from "fast-check";
import { postgresSettings } from "../../components/postgres/settings.ts";
import type { Rule } from "../../policies/rule.ts";
import { patroniTiming } from "../../policies/rules/replication/patroni-timing.ts";
import { postgresDurability } from "../../policies/rules/replication/postgres-durability.ts";
import { postgresReplicas } from "../../policies/rules/replication/postgres-replicas.ts";
import { redisDurability } from "../../policies/rules/replication/redis-durability.ts";
import { redisOneRegion } from "../../policies/rules/replication/redis-one-region.ts";
import { redisSize } from "../../policies/rules/replication/redis-size.ts";
import { rewindReady } from "../../policies/rules/replication/rewind-ready.ts";
import { slotWalBounded } from "../../policies/rules/replication/slot-wal-bounded.ts";
import { slotsForPeers } from "../../policies/rules/replication/slots-for-peers.ts";
import { walSettings } from "../../policies/rules/replication/wal-settings.ts";
import { runDirectly } from "./direct.ts";
import { local, parameter, shared } from "./mutations/patroni.ts";
import type { Mutation } from "./mutation.ts";
import { ChangedStack, realStack } from "./stack.ts";

/** What a rule says of a real stack after a change. */
async function said(rule: Rule, change: Mutation["change"], config: object = {}): Promise<string> {
  const stack = new ChangedStack(await realStack("beijing"));
  change(stack);
  const violations = await runDirectly(stack.resources, { rules: [rule], config: { [rule.name]: config } });
  return violations.map(({ message }) => message).join("\n");
}

describe("rules of replication", () => {
  it("patroni-timing finds exactly what the program's schema does not allow", async () => {
    const seconds = fc.integer({ min: 0, max: 40 });
    await fc.assert(
      fc.asyncProperty(seconds, seconds, seconds, async (ttl, loop, retry) => {
        const found = await said(
          patroniTiming,
          shared((dcs: object) => Object.assign(dcs, { ttl, loop_wait: loop, retry_timeout: retry, changed: true })),
        );
        const patroni = { ttlSeconds: ttl, loopWaitSeconds: loop, retryTimeoutSeconds: retry };
        assert.equal(found === "", postgresSettings.safeParse({ patroni }).success, JSON.stringify({ patroni, found }));
      }),
      {
        numRuns: 100,
        examples: [
          [20, 2, 3],
          [20, 14, 3],
          [20, 15, 3],
          [19, 2, 3],
        ],
      },
    );
  });

  it("slot-wal-bounded finds exactly what the program's schema does not allow, from its least bound on", async () => {
    const gigabytes = fc.integer({ min: 1, max: 30 });
    await fc.assert(
      fc.asyncProperty(gigabytes, gigabytes, gigabytes, async (slots, checkpoints, volume) => {
        const found = await said(slotWalBounded, (stack) => {
          const claim = stack.object("StatefulSet", "postgresql-beijing")["spec"].volumeClaimTemplates[0];
          claim.spec.resources.requests.storage = `${2 * volume}Gi`;
          parameter("max_wal_size", `${checkpoints}GB`)(stack);
          stack.json("postgresql-patroni", "20-dynamic.yml", ({ bootstrap: { dcs } }) => {
            dcs.postgresql.parameters.max_slot_wal_keep_size = `${slots * 1024}MB`;
            dcs.changed = true;
          });
        });
        const given = {
          storageSize: `${2 * volume}Gi`,
          parameters: { max_slot_wal_keep_size: `${slots}GB`, max_wal_size: `${checkpoints}GB` },
        };
        assert.equal(found === "", postgresSettings.safeParse(given).success, JSON.stringify({ given, found }));
      }),
      { numRuns: 100, examples: [[10, 3, 13]] },
    );
  });

  it("take what is in the limits, however it is written", async () => {
    const passes: readonly [Rule, Mutation["change"]][] = [
      [walSettings, parameter("max_wal_senders", "8")],
      [walSettings, parameter("max_replication_slots", 7)],
      [walSettings, parameter("wal_level", "logical")],
      [walSettings, parameter("hot_standby", true)],
      // In megabytes, where no unit is given.
      [slotWalBounded, parameter("max_slot_wal_keep_size", 10_240)],
      [slotWalBounded, parameter("max_slot_wal_keep_size", "1GB")],
      [postgresDurability, parameter("fsync", "yes")],
      [rewindReady, parameter("wal_log_hints", "true")],
      [rewindReady, shared((dcs) => (dcs.postgresql.use_pg_rewind = "on"))],
      [slotsForPeers, shared((dcs) => delete dcs.postgresql.use_slots)],
      [slotsForPeers, shared((dcs) => (dcs.member_slots_ttl = 300))],
      // Patroni takes this one from what all members share, and passes over what one of them says.
      [rewindReady, local(/(\n {4}unix_socket_directories:)/, "\n    wal_log_hints: off$1")],
      [redisDurability, (stack) => stack.file("redis-config", "redis.conf", (text) => `APPENDONLY no\n${text}`)],
    ];
    for (const [rule, change] of passes) assert.equal(await said(rule, change), "", `${rule.name}: ${String(change)}`);
  });

  it("do not pass for what they cannot read", async () => {
    const judged: readonly [Rule, Mutation["change"], RegExp][] = [
      [walSettings, parameter("max_wal_senders", "many"), /max_wal_senders: "many" is no number/],
      [walSettings, parameter("max_replication_slots", undefined), /max_replication_slots: is not set/],
      [walSettings, parameter("hot_standby", "perhaps"), /hot_standby: "perhaps" is neither on nor off/],
      [slotWalBounded, parameter("wal_keep_size", "1 shelf"), /wal_keep_size: "1 shelf" is no size/],
      [slotsForPeers, shared((dcs) => (dcs.slots = [])), /bootstrap\.dcs\.slots: found \[\]/],
      [
        patroniTiming,
        (stack) => stack.file("postgresql-patroni", "20-dynamic.yml", () => "bootstrap: {dcs"),
        /cannot be judged.*20-dynamic\.yml/,
      ],
      [
        patroniTiming,
        (stack) => delete stack.object("ConfigMap", "postgresql-patroni")["data"]["10-patroni.yml"],
        /ConfigMap\/postgresql-patroni data: has no 10-patroni\.yml/,
      ],
      [
        patroniTiming,
        local(/(\nbootstrap:)/, "$1\n  dcs:\n    ttl: 5"),
        /10-patroni\.yml"\] bootstrap\.dcs: belongs into 20-dynamic\.yml alone/,
      ],
      [slotsForPeers, (stack) => stack.remove("ConfigMap", "region-controller"), /no ConfigMap of region-controller/],
      [
        slotsForPeers,
        (stack) => stack.json("region-controller", "region.json", (value) => delete value.regions.shenzhen.slot),
        /regions\.shenzhen\.slot: is not set/,
      ],
      [
        slotsForPeers,
        (stack) => stack.json("region-controller", "region.json", (value) => (value.region = "nowhere")),
        /the region itself, nowhere, is not among them/,
      ],
      [walSettings, (stack) => stack.remove("StatefulSet", "postgresql-beijing"), /found 0 StatefulSets of postgresql/],
      [
        postgresReplicas,
        (stack) => delete stack.object("StatefulSet", "postgresql-beijing")["spec"].replicas,
        /spec\.replicas: is not set/,
      ],
      [
        slotWalBounded,
        (stack) => (stack.object("StatefulSet", "postgresql-beijing")["spec"].volumeClaimTemplates = []),
        /\/var\/lib\/postgresql\/data\/pgdata is on no volume that a pod keeps/,
      ],
      [
        redisDurability,
        (stack) => stack.file("redis-config", "redis.conf", (text) => `${text}include /etc/more.conf\n`),
        /include \/etc\/more\.conf: what is in that file is not known/,
      ],
      [
        redisDurability,
        (stack) => stack.file("redis-config", "redis.conf", (text) => text.replace(/^appendonly .*\n/m, "")),
        /appendonly is not set/,
      ],
      [
        redisOneRegion,
        (stack) => (stack.object("StatefulSet", "redis-beijing")["spec"].template.spec.containers[0].env = []),
        /env ANNOUNCED_HOST: is not set/,
      ],
      [
        redisSize,
        (stack) => stack.remove("ConfigMap", "redis-config"),
        /no ConfigMap of redis has the file redis\.conf/,
      ],
      [redisSize, (stack) => stack.file("redis-keeper", "keeper.json", (text) => text.slice(1)), /keeper\.json/],
    ];
    for (const [rule, change, message] of judged) {
      const found = await said(rule, change);
      assert.match(found, /cannot be judged, and so does not pass/, `${rule.name}: ${String(message)}`);
      assert.match(found, message);
    }
  });

  it("take their limits from the pack's configuration", async () => {
    const smaller = (set: string, count: number) => (stack: ChangedStack) => {
      stack.object("StatefulSet", set)["spec"].replicas = count;
    };
    assert.equal(await said(postgresReplicas, smaller("postgresql-beijing", 2), { replicas: 1 }), "");
    assert.match(await said(postgresReplicas, () => {}, { replicas: 4 }), /found 4; at least 5 pods/);
    assert.match(await said(redisSize, () => {}, { replicasPerMaster: 2 }), /found 6 for 3 masters; at least 9/);
    assert.match(
      await said(walSettings, () => {}, { baseBackups: 3 }),
      /max_wal_senders: found 10; .* = 12 are needed/,
    );
    await assert.rejects(
      said(postgresReplicas, () => {}, { replica: 1 }),
      /postgres-replicas\.replica: unknown key/,
    );
    await assert.rejects(
      said(slotsForPeers, () => {}, { memberTtlMinimumSeconds: 10, memberTtlMaximumSeconds: 5 }),
      /slots-for-peers: .*minimum must not be over maximum/,
    );
  });
});

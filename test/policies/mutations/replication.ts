import type { Mutation } from "../mutation.ts";
import { local, parameter, shared } from "./patroni.ts";

const conf =
  (from: RegExp, to: string): Mutation["change"] =>
  (stack) =>
    stack.file("redis-config", "redis.conf", (text) => text.replace(from, to));
const keeper =
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- a mutation goes wherever it likes
  (change: (value: any) => void): Mutation["change"] =>
    (stack) =>
      stack.json("redis-keeper", "keeper.json", change);
const replicas =
  (set: string, count: number): Mutation["change"] =>
  (stack) =>
    (stack.object("StatefulSet", set)["spec"].replicas = count);

const postgres: readonly Mutation[] = [
  {
    rule: "postgres-replicas",
    breaks: "fewer than three replicas",
    says: /StatefulSet\/postgresql-beijing spec.replicas: found 3; at least 4 pods are needed: the primary \+ 3 replicas/,
    change: replicas("postgresql-beijing", 3),
  },
  {
    rule: "postgres-replicas",
    breaks: "fewer than three replicas, in a standby region",
    region: "shenzhen",
    says: /StatefulSet\/postgresql-shenzhen spec.replicas: found 2/,
    change: replicas("postgresql-shenzhen", 2),
  },
  {
    rule: "slots-for-peers",
    breaks: "no slot for another region",
    says: /bootstrap.dcs.slots.shenzhen: is missing; shenzhen needs it/,
    change: shared((dcs) => delete dcs.slots.shenzhen),
  },
  {
    rule: "slots-for-peers",
    breaks: "no slot for the way back",
    region: "shanghai",
    says: /bootstrap.dcs.slots.beijing: is missing; beijing needs it/,
    change: shared((dcs) => delete dcs.slots.beijing),
  },
  {
    rule: "slots-for-peers",
    breaks: "a region's slot that is not physical",
    says: /slots.shanghai.type: found "logical"; must be "physical"/,
    change: shared((dcs) => (dcs.slots.shanghai = { type: "logical", database: "iam", plugin: "pgoutput" })),
  },
  {
    rule: "slots-for-peers",
    breaks: "slots not used",
    says: /postgresql.use_slots: found false; must be true/,
    change: shared((dcs) => (dcs.postgresql.use_slots = false)),
  },
  {
    rule: "slots-for-peers",
    breaks: "slots of absent replicas gone at once",
    says: /member_slots_ttl: found 0 s; must be from 300 to 86400 s/,
    change: shared((dcs) => (dcs.member_slots_ttl = 0)),
  },
  {
    rule: "slots-for-peers",
    breaks: "slots of absent replicas kept for days",
    says: /member_slots_ttl: found 172800 s; must be from 300 to 86400 s/,
    change: shared((dcs) => (dcs.member_slots_ttl = 172_800)),
  },
  {
    rule: "wal-settings",
    breaks: "wal_level minimal",
    says: /wal_level: found "minimal"; must be one of replica, logical/,
    change: parameter("wal_level", "minimal"),
  },
  {
    rule: "wal-settings",
    breaks: "hot_standby off",
    says: /hot_standby: found off; must be on/,
    change: parameter("hot_standby", "off"),
  },
  {
    rule: "wal-settings",
    breaks: "too few senders",
    says: /max_wal_senders: found 7; at least 3 replicas \+ 2 other regions \+ 1 further permanent slots \+ 2 for base backups = 8 are needed/,
    change: parameter("max_wal_senders", 7),
  },
  {
    rule: "wal-settings",
    breaks: "too few slots",
    says: /max_replication_slots: found 6; at least 3 replicas \+ 2 other regions \+ 1 further permanent slots \+ 1 for base backups = 7 are needed/,
    change: parameter("max_replication_slots", 6),
  },
  {
    rule: "synchronous-mode",
    breaks: "no synchronous replication",
    says: /synchronous_mode: found false; must be "quorum"/,
    change: shared((dcs) => (dcs.synchronous_mode = false)),
  },
  {
    rule: "synchronous-mode",
    breaks: "named replicas in place of a quorum, in a standby region",
    region: "shanghai",
    says: /synchronous_mode: found true; must be "quorum"/,
    change: shared((dcs) => (dcs.synchronous_mode = true)),
  },
  {
    rule: "synchronous-mode",
    breaks: "a quorum of none",
    says: /synchronous_node_count: found 0; at least 1/,
    change: shared((dcs) => (dcs.synchronous_node_count = 0)),
  },
  ...["off", "local", "remote_write"].map((value) => ({
    rule: "synchronous-mode",
    breaks: `synchronous_commit ${value}`,
    says: new RegExp(`synchronous_commit: found "${value}"; must be "on" or "remote_apply"`),
    change: parameter("synchronous_commit", value),
  })),
  {
    rule: "synchronous-mode",
    breaks: "synchronous_commit off in a member's own file",
    says: /synchronous_commit: found false; must be "on"/,
    change: local(/(\n {4}unix_socket_directories:)/, "\n    synchronous_commit: off$1"),
  },
  {
    rule: "patroni-timing",
    breaks: "loop_wait + 2 × retry_timeout over ttl",
    says: /ttl: found 20 s; at least loop_wait \+ 2 × retry_timeout = 2 \+ 2 × 10 = 22 s/,
    change: shared((dcs) => (dcs.retry_timeout = 10)),
  },
  {
    rule: "patroni-timing",
    breaks: "ttl under 20 s",
    says: /ttl: found 19 s; Patroni takes no less than 20 s/,
    change: shared((dcs) => (dcs.ttl = 19)),
  },
  {
    rule: "patroni-timing",
    breaks: "retry_timeout under 3 s",
    says: /retry_timeout: found 2 s; Patroni takes no less than 3 s/,
    change: shared((dcs) => (dcs.retry_timeout = 2)),
  },
  {
    rule: "patroni-timing",
    breaks: "loop_wait under 1 s",
    says: /loop_wait: found 0 s; Patroni takes no less than 1 s/,
    change: shared((dcs) => (dcs.loop_wait = 0)),
  },
  {
    rule: "failsafe-mode",
    breaks: "failsafe mode off",
    says: /failsafe_mode: found false; must be true/,
    change: shared((dcs) => (dcs.failsafe_mode = false)),
  },
  {
    rule: "failsafe-mode",
    breaks: "failsafe mode left to Patroni's default",
    says: /failsafe_mode: is not set/,
    change: shared((dcs) => delete dcs.failsafe_mode),
  },
  {
    rule: "slot-wal-bounded",
    breaks: "no bound",
    says: /max_slot_wal_keep_size: found -1 \(no limit\); a size is needed/,
    change: parameter("max_slot_wal_keep_size", "-1"),
  },
  {
    rule: "slot-wal-bounded",
    breaks: "the bound left to PostgreSQL's default",
    says: /max_slot_wal_keep_size: is not set/,
    change: parameter("max_slot_wal_keep_size", undefined),
  },
  {
    rule: "slot-wal-bounded",
    breaks: "a bound under 1 GiB",
    says: /max_slot_wal_keep_size: found 512 MiB; at least 1024 MiB/,
    change: parameter("max_slot_wal_keep_size", "512MB"),
  },
  {
    rule: "slot-wal-bounded",
    breaks: "a bound over what the volume has room for",
    says: /found 24576 MiB; max_slot_wal_keep_size 24576 MiB \+ max_wal_size 2048 MiB \+ wal_keep_size 512 MiB = 27136 MiB must fit into 50 % of the volume of 51200 MiB, 25600 MiB/,
    change: parameter("max_slot_wal_keep_size", "24GB"),
  },
  {
    rule: "slot-wal-bounded",
    breaks: "a volume too small for the bound",
    says: /= 12800 MiB must fit into 50 % of the volume of 20480 MiB, 10240 MiB/,
    change: (stack) => {
      const claim = stack.object("StatefulSet", "postgresql-beijing")["spec"].volumeClaimTemplates[0];
      claim.spec.resources.requests.storage = "20Gi";
    },
  },
  ...["fsync", "full_page_writes"].map((name) => ({
    rule: "postgres-durability",
    breaks: `${name} off`,
    says: new RegExp(`${name}: found off; must be on`),
    change: parameter(name, "off"),
  })),
  ...["zero_damaged_pages", "ignore_checksum_failure"].map((name) => ({
    rule: "postgres-durability",
    breaks: `${name} on`,
    says: new RegExp(`${name}: found on; must be off`),
    change: parameter(name, "on"),
  })),
  {
    rule: "postgres-durability",
    breaks: "fsync off in a member's own file",
    says: /fsync: found off; must be on/,
    change: local(/(\n {4}unix_socket_directories:)/, "\n    fsync: off$1"),
  },
  {
    rule: "postgres-durability",
    breaks: "no data checksums",
    says: /bootstrap.initdb: found .*; data-checksums must be among them/,
    change: local(/\n {4}- data-checksums/, ""),
  },
  {
    rule: "rewind-ready",
    breaks: "no pg_rewind",
    says: /use_pg_rewind: found false; must be true/,
    change: shared((dcs) => (dcs.postgresql.use_pg_rewind = false)),
  },
  {
    rule: "rewind-ready",
    breaks: "wal_log_hints off",
    says: /wal_log_hints: found false; must be true/,
    change: parameter("wal_log_hints", "off"),
  },
  ...["remove_data_directory_on_rewind_failure", "remove_data_directory_on_diverged_timelines"].map((name) => ({
    rule: "rewind-ready",
    breaks: name,
    says: new RegExp(`${name}: found true; must be false`),
    change: shared((dcs) => (dcs.postgresql[name] = true)),
  })),
];

const redis: readonly Mutation[] = [
  {
    rule: "redis-size",
    breaks: "fewer than three masters",
    says: /masters: found 2; at least 3/,
    change: keeper((value) => (value.masters = 2)),
  },
  {
    rule: "redis-size",
    breaks: "a master without a replica",
    says: /nodes: found 6 for 4 masters; at least 8 are needed/,
    change: keeper((value) => (value.masters = 4)),
  },
  {
    rule: "redis-size",
    breaks: "fewer pods than nodes",
    says: /StatefulSet\/redis-beijing spec.replicas: found 5; must be the number of nodes that the keeper knows, 6/,
    change: replicas("redis-beijing", 5),
  },
  {
    rule: "redis-node-timeout",
    breaks: "node timeout over 5 s",
    says: /found cluster-node-timeout 6000 ms; must be from 1000 to 5000 ms/,
    change: conf(/cluster-node-timeout 5000/, "cluster-node-timeout 6000"),
  },
  {
    rule: "redis-node-timeout",
    breaks: "node timeout under 1 s",
    says: /found cluster-node-timeout 900 ms; must be from 1000 to 5000 ms/,
    change: conf(/cluster-node-timeout 5000/, "cluster-node-timeout 900"),
  },
  {
    rule: "redis-durability",
    breaks: "no append-only file",
    says: /found appendonly no; must be yes/,
    change: conf(/appendonly yes/, "appendonly no"),
  },
  {
    rule: "redis-durability",
    breaks: "the append-only file left to the system",
    says: /found appendfsync no; must be everysec or always/,
    change: conf(/appendfsync everysec/, "appendfsync no"),
  },
  {
    rule: "redis-durability",
    breaks: "sessions evicted",
    says: /found maxmemory-policy allkeys-lru; must be noeviction/,
    change: conf(/maxmemory-policy noeviction/, "maxmemory-policy allkeys-lru"),
  },
  {
    rule: "redis-one-region",
    breaks: "a node of another region",
    says: /nodes.5.host: found redis-shanghai.iam.example.com; must be a pod of StatefulSet\/redis-beijing/,
    change: keeper((value) => (value.nodes[5].host = "redis-shanghai.iam.example.com")),
  },
  {
    rule: "redis-one-region",
    breaks: "a node that announces itself under another region's name",
    says: /nodes.5.name: found redis-shanghai-5.redis-nodes.iam.svc.cluster.local; must be a pod of/,
    change: keeper((value) => (value.nodes[5].name = "redis-shanghai-5.redis-nodes.iam.svc.cluster.local")),
  },
  {
    rule: "redis-one-region",
    breaks: "a keeper of another region",
    says: /region: found shanghai; must be the region of the stack, beijing/,
    change: keeper((value) => (value.region = "shanghai")),
  },
];

/** Every limit of the chapter "Replication". */
export const replicationMutations: readonly Mutation[] = [...postgres, ...redis];

import type { Mutation } from "../mutation.ts";
import { replicas } from "./sets.ts";

const conf =
  (from: RegExp, to: string): Mutation["change"] =>
  (stack) =>
    stack.file("redis-config", "redis.conf", (text) => text.replace(from, to));
const keeper =
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- a mutation goes wherever it likes
  (change: (value: any) => void): Mutation["change"] =>
    (stack) =>
      stack.json("redis-keeper", "keeper.json", change);

/** The limits of Redis in the chapter "Replication". */
export const redisMutations: readonly Mutation[] = [
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
    rule: "redis-size",
    breaks: "no cluster",
    says: /found cluster-enabled no; must be yes/,
    change: conf(/cluster-enabled yes/, "cluster-enabled no"),
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

import type { Given } from "./bound.ts";

const given = (value: number, source: string): Given => ({ value, source });

/** What the engines and the project's own programs do that no file of a stack sets, in seconds. A test holds those of
 *  the project against its sources. */
export const ENGINES = {
  /** Patroni asks the other members before it takes the lock; one that does not answer costs this much. */
  patroniMember: given(2, "Patroni ha.py fetch_node_status: time-out 2 s"),
  /** A ping is sent at the latest when half the node time-out has passed since the last pong. */
  redisPing: given(0.5, "Redis cluster.c clusterCron: a ping after half of cluster-node-timeout"),
  /** What other masters know of a silent node comes with their pings. */
  redisGossip: given(
    0.5,
    "Redis cluster.c clusterCron: gossip with pings, at least one in half of cluster-node-timeout",
  ),
  /** A replica waits 500 ms and up to 500 ms more before it asks for votes; its round comes every 100 ms. */
  redisElection: given(1.1, "Redis cluster.c clusterHandleSlaveFailover: 500 ms + at most 500 ms, in rounds of 100 ms"),
  /** A replica tells its offset once a second. */
  redisReplication: given(1, "Redis replication.c replicationCron: an acknowledgement a second"),
  /** Leases that have run out are looked for. */
  etcdRevoke: given(0.5, "etcd lessor.go: a look for leases that ran out every 500 ms"),
  /** A client of etcd leaves a member that is silent: gRPC pings after 10 s at the least, and waits for 20 s. */
  corednsMember: given(30, "CoreDNS plugin etcd, gRPC keepalive: 10 s + 20 s"),
  /** Shortest time that a cached answer is given. */
  corednsMinTtl: given(1, "Corefile: success … 1"),
  /** The watcher beside NGINX: a poll of 5 s where no event comes, and at most 20 × 0.1 s until a burst of changes ends. */
  edgeReload: given(7, "images/edge/edge-entrypoint: EDGE_POLL_SECONDS 5 s + 2 s"),
  /** A question for another region's state. */
  statusCall: given(2, "sidecar/region/peers.ts STATUS_TIMEOUT_MILLIS"),
  /** A batch of sessions. */
  sessionCall: given(10, "sidecar/region/sessions/receiver.ts REQUEST_MILLIS"),
  /** Pause between two looks at the local Redis: what a master changed is known to be heard two looks later. */
  sessionLook: given(1, "sidecar/region/sessions/index.ts LOOK_MILLIS"),
} as const;

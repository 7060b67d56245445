import { activityMillis } from "../../sidecar/core/region-activity.ts";
import { assumed, type Assumptions } from "./assumptions.ts";
import { slower, term, termOf, type Bound, type Term } from "./bound.ts";
import { databasePath, entryPath, polledOut } from "./database-path.ts";
import { ENGINES } from "./engines.ts";
import { CORE, type FunctionName } from "./functions.ts";
import type { Pods, Probe, Timings } from "./timings.ts";

/** A fault, and how long it keeps some functions away. */
export interface Scenario extends Bound {
  readonly name: string;
  /** What happens, in words. */
  readonly fault: string;
  readonly functions: readonly FunctionName[];
}

/** How long each fault keeps functions away at worst, one fault at a time. */
export function recoveryTimes(t: Timings, assumptions: Assumptions): Scenario[] {
  const given = (key: keyof Assumptions) => assumed(assumptions, key);
  const retry = term("a client tries again", given("clientRetrySeconds"));
  const promotion = given("promotionSeconds");
  const silentPooler = term("the API leaves a connection that says nothing", given("databaseClientSeconds"));
  const core = (name: string, fault: string, terms: readonly Term[], without: readonly string[] = []): Scenario => ({
    name,
    fault,
    functions: CORE,
    terms: [...terms, retry],
    without,
  });
  return [
    core("api-pod", "a pod of the API is lost or hangs", apiPod(t, assumptions)),
    core("edge-pod", "a pod of the edge hangs", [
      ...hung(t.edge, "the edge's pod", assumptions),
      ...(t.edge.balanced ? [term("the load balancer leaves its node", given("balancerSeconds"))] : []),
    ]),
    core("edge-node", "the node of a pod of the edge vanishes", edgeNode(t, assumptions)),
    core("pooler-pod", "a pod of the pooler hangs", [...hung(t.pooler, "the pooler's pod", assumptions), silentPooler]),
    core("pooler-node", "the node of a pod of the pooler vanishes", [
      ...vanished(t.pooler, "the pooler's pod", assumptions),
      silentPooler,
    ]),
    core("primary-process", "the primary's process dies", [
      ...slower(databasePath(t.patroni, "process", promotion), polledOut(t.pooler)),
      ...entryPath(t.pooler),
    ]),
    core("primary-node", "the primary's node vanishes without a word", [
      ...slower(databasePath(t.patroni, "node", promotion), polledOut(t.pooler)),
      ...entryPath(t.pooler),
    ]),
    core("replica-node", "a replica's node vanishes without a word", [
      ...polledOut(t.pooler),
      term("PgBouncer connects anew", t.pooler.loginRetry),
    ]),
    { ...core("redis-master", "a master of Redis is lost", redisMaster(t, assumptions)), functions: [...CORE, CACHE] },
    {
      name: "stream-node",
      fault: "the node of the primary that other regions stream from vanishes",
      functions: [REPLICATION],
      terms: [
        ...slower(databasePath(t.patroni, "node", promotion), [
          term("the standby's receiver takes the silence for an end", t.patroni.receiverTimeout),
        ]),
        term("the standby connects anew", t.patroni.retrieveRetry),
      ],
      without: [],
    },
    {
      name: "source-region",
      fault: "a standby region's source is lost",
      functions: [REPLICATION],
      terms: sourceLost(t),
      without: [],
    },
    {
      name: "controller-node",
      fault: "the node of the region controller vanishes",
      functions: [REPLICATION, CACHE],
      terms: controllerNode(t, assumptions),
      without: ["a copy of all sessions, where their log was lost: by their number"],
    },
    {
      name: "active-region",
      fault: "the active region is lost",
      functions: [...CORE, REPLICATION, CACHE],
      terms: [...slower(namePath(t, assumptions), routePath(t)), retry],
      without: [
        "the takeover itself: a person has to give it, as no part takes over by itself",
        "steps of recovery plans: there are none",
        ...(t.dns ? [] : ["the platform's name: it is kept by other means"]),
      ],
    },
  ];
}

const REPLICATION: FunctionName = "database-replication";
const CACHE: FunctionName = "cache-synchronization";

/** Until a probe has failed often enough: the fault may come just after a good one. */
function probed(probe: Probe, what: string): Term {
  const { period, failures, timeout } = probe;
  return termOf(what, period.value * failures.value + timeout.value, period, failures, timeout);
}

/** A pod that hangs: nobody sends to it once it is not ready; without readiness, or alone, it must be restarted. */
function hung(pods: Pods, name: string, assumptions: Assumptions): Term[] {
  if (!pods.alone && pods.readiness)
    return [
      probed(pods.readiness, `${name} counts as not ready`),
      term("every node knows", assumed(assumptions, "endpointsSeconds")),
    ];
  if (pods.liveness)
    return [
      probed(pods.liveness, `${name} counts as dead`),
      term("it is stopped", pods.grace),
      term("it starts", assumed(assumptions, "podStartSeconds")),
    ];
  return [{ what: `nothing finds out that ${name} hangs`, seconds: Infinity, source: "no probe" }];
}

/** A pod whose node vanishes: nobody but Kubernetes finds out. */
function vanished(pods: Pods, name: string, assumptions: Assumptions): Term[] {
  const lost = term("Kubernetes calls the node lost", assumed(assumptions, "nodeLostSeconds"));
  if (!pods.alone) return [lost, term("every node knows", assumed(assumptions, "endpointsSeconds"))];
  if (!pods.moves)
    return [lost, { what: `${name} is placed nowhere else by itself`, seconds: Infinity, source: "StatefulSet" }];
  return [
    lost,
    term(`${name} is given up there`, pods.toleration),
    term("it starts elsewhere", assumed(assumptions, "podStartSeconds")),
  ];
}

/** NGINX keeps connections to the pod that had no fault when they were last used, and opens new ones to it until it
 *  counts as not ready; a request on either waits in vain. A connection that does not come about costs the time to
 *  connect alone: the request goes to the next pod. What NGINX learns from failures (max_fails) only makes it better. */
function apiPod({ api, edge }: Timings, assumptions: Assumptions): Term[] {
  if (api.alone)
    return [...slower(hung(api, "the API's pod", assumptions), vanished(api, "the API's pod", assumptions))];
  const unanswered = term("a request on it gets no answer", edge.proxyRead);
  const idle = [term("the last idle connection to the pod is used or closed", edge.upstreamIdle), unanswered];
  const fresh = [...hung(api, "the API's pod", assumptions), unanswered];
  return [
    ...slower(slower(idle, fresh), [term("a request on a new connection goes to the next pod", edge.proxyConnect)]),
  ];
}

function edgeNode({ edge }: Timings, assumptions: Assumptions): Term[] {
  const balancer = term("the load balancer leaves the node", assumed(assumptions, "balancerSeconds"));
  if (edge.balanced && !edge.alone) return [balancer];
  return [...slower(vanished(edge, "the edge's pod", assumptions), [balancer])];
}

function redisMaster({ redis }: Timings, assumptions: Assumptions): Term[] {
  const { nodeTimeout } = redis;
  const { redisPing, redisGossip, redisElection } = ENGINES;
  return [
    termOf("a ping is sent", nodeTimeout.value * redisPing.value, redisPing, nodeTimeout),
    term("it is not answered", nodeTimeout),
    termOf("most masters know", nodeTimeout.value * redisGossip.value, redisGossip, nodeTimeout),
    term("a replica is elected", redisElection),
    term("the API's client finds the new master", assumed(assumptions, "cacheClientSeconds")),
  ];
}

function sourceLost({ controller: c, patroni }: Timings): Term[] {
  const { statusCall } = ENGINES;
  return [
    term("the receiver takes the silence for an end", patroni.receiverTimeout),
    term("the source is away for long enough", c.sourceLost),
    termOf(
      "the controller's next look: the source, Patroni, the database",
      c.interval.value + statusCall.value + 2 * c.databaseCall.value,
      c.interval,
      statusCall,
      c.databaseCall,
    ),
    term("Patroni is told", c.databaseCall),
    term("Patroni's leader takes it over", patroni.loopWait),
    term("the receiver connects anew", patroni.retrieveRetry),
  ];
}

function controllerNode({ controller: c }: Timings, assumptions: Assumptions): Term[] {
  const { statusCall, sessionLook } = ENGINES;
  const intervals = c.links.map(({ interval }) => interval).sort((a, b) => b.value - a.value);
  return [
    ...vanished({ ...c, alone: true }, "the controller", assumptions),
    termOf("its first look", c.interval.value + statusCall.value, c.interval, statusCall),
    term("it listens to Redis", sessionLook),
    ...intervals.slice(0, 1).map((slowest) => term("the slowest link's next batch", slowest)),
  ];
}

/** The lease of the lost region: its member of etcd may have led, and a new leader extends every lease. */
function leaseEnds({ controller, witness }: Timings): Term[] {
  return [
    termOf("the witness elects a leader", 2 * witness.election.value, witness.election),
    term("the lost region's lease runs out", controller.leaseTtl),
    term("a new leader of the witness extends it", witness.election),
    term("the witness sees its end", ENGINES.etcdRevoke),
  ];
}

/** Clients that go by the name. */
function namePath(t: Timings, assumptions: Assumptions): Term[] {
  const { dns } = t;
  if (!dns) return [];
  return [
    ...slower(leaseEnds(t), [term("name servers leave the lost member of the witness", ENGINES.corednsMember)]),
    term("the name's old answer is over", dns.ttl),
    term("it is given at least this long", ENGINES.corednsMinTtl),
    term("resolvers leave the lost region's name servers", assumed(assumptions, "resolverSeconds")),
  ];
}

/** Requests that come to the edge of a region that stays: it passes them on to the new active region. */
function routePath(t: Timings): Term[] {
  const { edge, controller: c } = t;
  return [
    ...leaseEnds(t),
    termOf(
      "the controller reads who is active, past a member that is gone",
      activityMillis(c.leaseTtl.value) / 1000 + c.witnessCall.value,
      c.leaseTtl,
      c.witnessCall,
    ),
    termOf("the edge asks it", edge.poll.value + edge.call.value, edge.poll, edge.call),
    termOf(
      "the edge finds the address of the other edge, at the second try",
      edge.resolve.value + edge.call.value,
      edge.resolve,
      edge.call,
    ),
    term("NGINX takes it over", ENGINES.edgeReload),
  ];
}

import { term, termOf, type Bound, type Term } from "./bound.ts";
import { ENGINES } from "./engines.ts";
import { CORE, type FunctionName } from "./functions.ts";
import type { LinkTimings, Timings } from "./timings.ts";

/** A fault, and how many seconds of writes it may cost some functions. */
export interface Loss extends Bound {
  readonly name: string;
  /** What is lost by what, in words. */
  readonly fault: string;
  readonly functions: readonly FunctionName[];
}

/** How many seconds of acknowledged writes each fault may cost, one fault at a time. */
export function recoveryPoints(t: Timings): Loss[] {
  const { controller: c, patroni, redis } = t;
  return [
    {
      name: "primary",
      fault: "the primary is lost, and a replica of its region takes its place",
      functions: [...CORE, "database-replication"],
      terms: [inRegion(patroni)],
      without: patroni.synchronous
        ? [
            patroni.strict
              ? "loss of the primary and of every replica that has the write, at once"
              : "loss of the primary while no replica is left to confirm: then commits go on without one (synchronous_mode_strict is off)",
          ]
        : ["writes in the last bytes that maximum_lag_on_failover lets a new primary lack"],
    },
    {
      name: "active-region",
      fault: "the active region is lost, and with it what its standby has not received",
      functions: [...CORE, "database-replication"],
      terms: [
        term("a link further behind than this is unhealthy", c.maxLag),
        termOf(
          "silence of the source that does not count as lag yet",
          2 * c.interval.value + ENGINES.statusCall.value,
          c.interval,
          ENGINES.statusCall,
        ),
      ],
      without: [
        "a guard that holds writes back while no standby region keeps up: there is none; the lag raises an alarm",
      ],
    },
    {
      name: "redis-master",
      fault: "a master of Redis is lost, or cut off from the others while clients still write to it",
      functions: ["user-authentication", "cache-synchronization"],
      terms: [
        term("a master that is cut off takes writes for so long", redis.nodeTimeout),
        term("its replica may be this far behind", ENGINES.redisReplication),
      ],
      without: ["loss of a master whose replica was away already"],
    },
    {
      name: "takeover-sessions",
      fault: "the active region is lost, and with it sessions that the region that takes over first has not got",
      functions: ["user-authentication"],
      terms: c.takeoverLink ? sessions(c.takeoverLink) : [noLink()],
      without: [],
    },
    ...c.links.map((link): Loss => ({
      name: `sessions-${link.from}-${link.to}`,
      fault: `${link.from} is lost, and with it sessions that ${link.to} has not got`,
      functions: ["cache-synchronization"],
      terms: sessions(link),
      without: ["backlog of more than a batch: batches then follow each other without a pause"],
    })),
    ...(patroni.archive
      ? [
          {
            name: "archive",
            fault: "every region's database is lost, and restored from the archive of WAL",
            functions: ["backup-restoration" as const],
            terms: [term("a segment of WAL is archived", patroni.archive)],
            without: ["an archive command that fails again and again", "base backups: there are none"],
          },
        ]
      : []),
  ];
}

function inRegion({ synchronous, loopWait }: Timings["patroni"]): Term {
  if (synchronous !== undefined)
    return { what: "a commit is acknowledged once a replica has it", seconds: 0, source: synchronous };
  return term("asynchronous mode: a replica is judged by the primary's last known position", loopWait);
}

/** A batch that fails as often as it may before it counts as an error. */
function sessions({ interval, attempts, retryDelay }: LinkTimings): Term[] {
  const { sessionLook, sessionCall } = ENGINES;
  return [
    termOf("a change is known to be heard", 2 * sessionLook.value, sessionLook),
    term("the next batch", interval),
    termOf("its tries", attempts.value * sessionCall.value, attempts, sessionCall),
    termOf("pauses between them", Math.max(0, attempts.value - 1) * retryDelay.value, attempts, retryDelay),
  ];
}

function noLink(): Term {
  return { what: "no link leads to the region that takes over first", seconds: Infinity, source: "region.json links" };
}

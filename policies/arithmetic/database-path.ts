import { term, termOf, type Given, type Term } from "./bound.ts";
import { ENGINES } from "./engines.ts";
import type { Timings } from "./timings.ts";

/** From the loss of a primary to another one that takes writes. */
export function databasePath(patroni: Timings["patroni"], lost: "process" | "node", promotion: Given): Term[] {
  const { ttl, loopWait, primaryStart, standbyDelay } = patroni;
  return [
    ...(lost === "node"
      ? [term("the lost primary's lock runs out", ttl)]
      : [
          term("Patroni sees that the process is gone", loopWait),
          term("it tries to start it again before it gives the lock up", primaryStart),
        ]),
    term("a replica sees that the lock is free", loopWait),
    term("it asks the other members, one of which does not answer", ENGINES.patroniMember),
    term("it replays what it has, which queries on it may hold up", standbyDelay),
    term("it is promoted", promotion),
  ];
}

/** Seconds that one check of HAProxy takes at most: to connect, as long as the pause between checks at most, and to be
 *  answered. */
function checkSeconds({ connect, inter, check }: Timings["pooler"]): number {
  return Math.min(connect.value, inter.value) + check.value;
}

/** Until HAProxy has left a server that is gone, and what it was about to open to it has ended. */
export function polledOut(pooler: Timings["pooler"]): Term[] {
  const { inter, fastInter, fall, check, connect, retries } = pooler;
  const checks = inter.value + Math.max(0, fall.value - 1) * fastInter.value + fall.value * checkSeconds(pooler);
  return [
    termOf("HAProxy's checks of the lost server fail", checks, inter, fastInter, fall, check, connect),
    termOf(
      "connections that it was about to open go to another one",
      connect.value * (1 + retries.value),
      connect,
      retries,
    ),
  ];
}

/** Until the pooler leads writes to a new primary. */
export function entryPath(pooler: Timings["pooler"]): Term[] {
  const { downInter, fastInter, rise, check, connect, inter, loginRetry } = pooler;
  const checks = downInter.value + Math.max(0, rise.value - 1) * fastInter.value + rise.value * checkSeconds(pooler);
  return [
    termOf("HAProxy's checks find the new primary", checks, downInter, fastInter, rise, check, connect, inter),
    term("PgBouncer connects anew", loginRetry),
  ];
}

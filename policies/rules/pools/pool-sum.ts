import { z } from "zod";
import { COMPONENTS } from "../../../components/common/names.ts";
import { sumOf, totalOf, type Term } from "../../counted.ts";
import { numberOf, poolerOf, type Pool, type PoolerConfig } from "../../facts/pooler.ts";
import { numberIn, patroniOf, type PatroniConfig } from "../../facts/postgres.ts";
import { podsOf } from "../../facts/sets.ts";
import { CannotJudge, type Stack } from "../../facts/stack.ts";
import { stackRule } from "../../rule.ts";

const config = z.strictObject({
  monitoring: z.int().min(0).default(1).describe("connections of exporters and other watchers to one server"),
  other: z.int().min(0).default(0).describe("connections to one server of what this stack does not describe"),
});

/** Connections to one server that the engines keep for themselves: Patroni its loop's, its REST API's and two for slots
 *  and checks; the reconciler one; pg_rewind of returning replicas two. */
const ENGINES: readonly Term[] = [
  { count: 4, of: "of Patroni" },
  { count: 1, of: "of the reconciler" },
  { count: 2, of: "of pg_rewind" },
];

/** A region controller has one to ask for state and one to compare content. */
const PER_CONTROLLER = 2;

export const poolSum = stackRule({
  name: "pool-sum",
  description: "All pools together, with everyone else who connects to the database, fit into its max_connections.",
  severity: "critical",
  why: "§5.2.3 of the design. A pool that cannot open the connections it may gets errors instead, under the highest load first. Both entries count: reads go to the primary while no replica is fit. Every pooler pod counts twice, as in a rolling update the old ones still serve their clients while their successors are at work. Replication has places of its own (max_wal_senders) since PostgreSQL 12, and does not count.",
  remediation:
    "Lower iam-ha:pooler.write.max, iam-ha:pooler.read.max or iam-ha:pooler.replicas, or raise iam-ha:postgres.parameters.max_connections (with memory for them).",
  config,
  check({ stack, config, report }) {
    const patroni = patroniOf(stack);
    const terms = [
      ...poolTerms(stack),
      ...ENGINES,
      {
        count: PER_CONTROLLER * podsOf(stack, "Deployment", COMPONENTS.regionController).count,
        of: "of the region controller",
      },
      { count: config.monitoring, of: "of monitoring" },
      { count: config.other, of: "of others" },
      ...reserved(patroni),
    ].filter(({ count }) => count > 0);
    const allowed = numberIn(patroni.parameters, "max_connections");
    if (totalOf(terms) > allowed)
      report(
        `${patroni.parameters.where}.max_connections: found ${allowed}; at least ${sumOf(terms)} are needed`,
        patroni.resource,
      );
  },
});

function poolTerms(stack: Stack): Term[] {
  const pooler = poolerOf(stack);
  const { resource, count } = podsOf(stack, "Deployment", COMPONENTS.pooler);
  const rolling = (resource.props["spec"] as { strategy?: { type?: string } }).strategy?.type !== "Recreate";
  const pods = rolling ? 2 * count : count;
  const how = rolling ? `${count} pooler pods and their successors` : `${count} pooler pods`;
  return pooler.pools.map((pool) => {
    const each = mostOf(pool, pooler);
    return { count: each * pods, of: `of pool ${pool.entry} (${each} × ${how})` };
  });
}

/** How many connections one PgBouncer may open for an entry. */
function mostOf({ entry, settings }: Pool, pooler: PoolerConfig): number {
  const where = `data["pgbouncer.ini"] [databases] ${entry}`;
  const perDatabase =
    settings["max_db_connections"] === undefined ? 0 : numberOf(settings, "max_db_connections", where);
  const bounds = perDatabase > 0 ? [perDatabase] : [];
  // With one user for all there is one pool; otherwise one for each user, and nobody knows how many there will be.
  if (settings["user"] !== undefined) {
    const reserve = ["reserve_pool_size", "reserve_pool"].find((name) => settings[name] !== undefined);
    bounds.push(
      numberOf(settings, "pool_size", where) +
        (reserve
          ? numberOf(settings, reserve, where)
          : numberOf(pooler.settings, "reserve_pool_size", 'data["pgbouncer.ini"] [pgbouncer]')),
    );
  }
  if (bounds.length === 0)
    throw new CannotJudge(`${where}: has neither max_db_connections nor a user, so every user has a pool of its own`);
  return Math.min(...bounds);
}

/** Places that the pools' role cannot have. */
function reserved({ parameters }: PatroniConfig): Term[] {
  return [
    { count: numberIn(parameters, "superuser_reserved_connections"), of: "reserved for superusers" },
    {
      // PostgreSQL's default is 0.
      count: parameters.values["reserved_connections"] === undefined ? 0 : numberIn(parameters, "reserved_connections"),
      of: "reserved for members of pg_use_reserved_connections",
    },
  ];
}

import { formatLsn } from "../core/lsn.ts";
import type { RegionConfig } from "../core/region-config.ts";
import type { TimelineHistory } from "../core/region-conflicts.ts";
import type { DatabaseStatus } from "../core/region-status.ts";
import { reasonOf } from "./loop.ts";
import { Patroni, type PatroniLook, type StandbySource } from "./patroni.ts";
import { Sql } from "./sql.ts";
import type { TlsFiles } from "./tls.ts";

/** `GET /position`: where a region's database is, read for this answer. */
export interface Position {
  readonly region: string;
  /** Clock of the database's machine, milliseconds since 1970. */
  readonly at: number;
  readonly lsn: string;
  readonly timeline: number | undefined;
  readonly systemId: string | undefined;
  readonly history: TimelineHistory;
}

export interface DatabaseLook {
  readonly status: DatabaseStatus;
  /** Whether any member has a database at all. */
  readonly exists: boolean;
  readonly isStandbyCluster: boolean | undefined;
  /** Where the standby cluster streams from, as configured. */
  readonly source: StandbySource | undefined;
  /** REST API of the member that leads. */
  readonly leaderUrl: string | undefined;
  /** Why less is known than could be; undefined when everything was read. */
  readonly trouble: string | undefined;
}

const NOTHING: DatabaseLook = {
  status: {
    state: "unreachable",
    systemId: undefined,
    timeline: undefined,
    lsn: undefined,
    replicas: 0,
    source: undefined,
    streaming: false,
    slots: [],
  },
  exists: false,
  isStandbyCluster: undefined,
  source: undefined,
  leaderUrl: undefined,
  trouble: "not looked at yet",
};

const HISTORY_MILLIS = 10_000;

const POSITION = "CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END";
/** $1: slots of the other regions; whoever streams through them is no replica of this region. */
const LOOK = `
  SELECT pg_is_in_recovery() AS standby, (${POSITION})::text AS lsn,
    (SELECT count(*)::int FROM pg_stat_replication r WHERE r.state = 'streaming' AND NOT EXISTS
      (SELECT FROM pg_replication_slots s WHERE s.active_pid = r.pid AND s.slot_name::text = ANY($1))) AS replicas,
    (SELECT status FROM pg_stat_wal_receiver) AS receiver,
    (SELECT coalesce(json_agg(json_build_object('name', slot_name, 'active', active, 'walStatus', wal_status,
      'retainedBytes', greatest(0, pg_wal_lsn_diff((${POSITION}), restart_lsn))) ORDER BY slot_name), '[]')
      FROM pg_replication_slots WHERE slot_type = 'physical' AND NOT temporary) AS slots`;

interface LookRow {
  readonly standby: boolean;
  readonly lsn: string | null;
  readonly replicas: number;
  readonly receiver: string | null;
  readonly slots: readonly { name: string; active: boolean; walStatus: string | null; retainedBytes: number | null }[];
}

/** The region's own database: Patroni for who leads, SQL at the leader for the rest. */
export class Database {
  readonly patroni: Patroni;
  readonly #config: RegionConfig;
  readonly #sql: Sql;
  #last: DatabaseLook = NOTHING;
  #history: { url: string; at: number; entries: TimelineHistory } | undefined;

  constructor(config: RegionConfig, tls: TlsFiles) {
    this.#config = config;
    this.patroni = new Patroni(config, tls);
    this.#sql = new Sql(config, tls);
  }

  /** What was seen last. */
  get last(): DatabaseLook {
    return this.#last;
  }

  /** Whether it was looked at since the start. */
  get looked(): boolean {
    return this.#last !== NOTHING;
  }

  /** Looks anew. Never throws: what is not known is said. */
  async look(signal?: AbortSignal): Promise<DatabaseLook> {
    const seen = await this.patroni.look(signal);
    const { leader } = seen;
    const state = stateOf(seen);
    const xlog = leader?.status.xlog;
    const position = xlog?.location ?? xlog?.replayed_location ?? undefined;
    const systemId = [leader?.status, ...seen.answered].map((m) => m?.database_system_identifier).find(Boolean);
    let status: DatabaseStatus = {
      ...NOTHING.status,
      state,
      systemId,
      timeline: leader?.status.timeline,
      lsn: position === undefined ? undefined : formatLsn(BigInt(position)),
      source: state === "primary" ? undefined : this.#regionOf(seen.source),
      streaming: state === "standby" && leader?.status.replication_state === "streaming",
    };
    let trouble = leader ? undefined : seen.answered.length > 0 ? "no member leads" : "no member answers";
    if (leader) {
      try {
        status = this.#withRow(status, await this.#row(leader.url));
      } catch (error) {
        trouble = `the leader's figures could not be read: ${reasonOf(error)}`;
      }
    }
    this.#last = {
      status,
      exists: systemId !== undefined,
      isStandbyCluster: seen.isStandbyCluster,
      source: seen.source,
      leaderUrl: leader?.url,
      trouble,
    };
    return this.#last;
  }

  /** Host of the pod that leads; a Service may still lead elsewhere for a moment.
   *  @throws when none does */
  leaderHost(): string {
    const { leaderUrl } = this.#last;
    if (leaderUrl === undefined) throw new Error(`no leader of the database is known (${this.#last.trouble})`);
    return new URL(leaderUrl).hostname;
  }

  /** Where the database is, just now. */
  async position(signal?: AbortSignal): Promise<Position> {
    const host = this.leaderHost();
    const url = this.#last.leaderUrl!;
    const { timeline, systemId } = this.#last.status;
    const history = await this.#historyOf(url, signal);
    const row = await this.#sql.run(host, async (client) => {
      const { rows } = await client.query<{ at: string; lsn: string | null }>(
        `SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::text AS at, (${POSITION})::text AS lsn`,
      );
      return rows[0]!;
    });
    if (row.lsn === null) throw new Error("the database has no position yet");
    return { region: this.#config.region, at: Number(row.at), lsn: row.lsn, timeline, systemId, history };
  }

  close(): Promise<void> {
    return this.#sql.close();
  }

  #row(url: string): Promise<LookRow> {
    const { regions, region } = this.#config;
    const slots = Object.entries(regions).flatMap(([name, { slot }]) => (name === region ? [] : [slot]));
    return this.#sql.run(new URL(url).hostname, async (client) => {
      const { rows } = await client.query<LookRow>(LOOK, [slots]);
      return rows[0]!;
    });
  }

  #withRow(status: DatabaseStatus, row: LookRow): DatabaseStatus {
    return {
      ...status,
      // Patroni's word is a round old: a database that is one thing and said to be another is on its way.
      state:
        (status.state === "primary" && row.standby) || (status.state === "standby" && !row.standby)
          ? "starting"
          : status.state,
      lsn: row.lsn ?? status.lsn,
      replicas: row.replicas,
      streaming: row.receiver === "streaming",
      slots: row.slots.map((slot) => ({
        ...slot,
        walStatus: slot.walStatus ?? undefined,
        retainedBytes: slot.retainedBytes ?? undefined,
      })),
    };
  }

  async #historyOf(url: string, signal?: AbortSignal): Promise<TimelineHistory> {
    const now = performance.now();
    if (this.#history?.url !== url || now - this.#history.at > HISTORY_MILLIS) {
      this.#history = { url, at: now, entries: await this.patroni.history(url, signal) };
    }
    return this.#history.entries;
  }

  #regionOf(source: StandbySource | undefined): string | undefined {
    if (!source) return undefined;
    const entry = Object.entries(this.#config.regions).find(
      ([, { postgres }]) => postgres.host === source.host && postgres.port === source.port,
    );
    return entry?.[0];
  }
}

/** A primary is a leader that says so in a cluster that is no standby; the other way round for a standby. Whatever is
 *  neither is on its way from one to the other, or has no leader just now. */
function stateOf({ leader, answered, isStandbyCluster }: PatroniLook): DatabaseStatus["state"] {
  if (answered.length === 0) return "unreachable";
  if (!leader || isStandbyCluster === undefined) return "starting";
  const writes = leader.status.role === "primary" || leader.status.role === "master";
  if (writes && !isStandbyCluster) return "primary";
  return !writes && isStandbyCluster ? "standby" : "starting";
}

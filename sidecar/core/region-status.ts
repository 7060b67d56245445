/** What region controllers tell each other, the edge, the database pods and the status board. Times are ISO 8601, of the
 *  region that tells them. */

/** The word of the witness on who is active. */
export interface ActiveRecord {
  readonly region: string;
  /** Fencing token: only ever grows. */
  readonly epoch: number;
  /** Since when. */
  readonly since: string;
}

/** `GET /active`: what the edge follows. */
export interface ActiveAnswer {
  /** The region that asks is told where it is. */
  readonly region: string;
  /** undefined while nobody is known to be active. */
  readonly active: ActiveRecord | undefined;
  /** Age in milliseconds of what was read from the witness; undefined when it was never read. */
  readonly ageMillis: number | undefined;
  /** Edge of the active region; while nobody is active, of the one that was last; undefined while neither is known. */
  readonly edge: { readonly host: string; readonly port: number } | undefined;
}

/** `GET /birth`: what a database pod with an empty volume is told. */
export type BirthAnswer =
  | { readonly as: "primary"; readonly cause: string }
  | {
      readonly as: "standby";
      readonly source: { readonly host: string; readonly port: number; readonly slot: string };
      /** Whether the source can be copied from just now, as far as is known; until it can, the pod waits for it. */
      readonly ready: boolean;
      readonly cause: string;
    }
  | { readonly as: "wait"; readonly cause: string };

export interface WitnessMember {
  readonly region: string;
  readonly healthy: boolean;
  readonly leader: boolean;
  readonly version: string;
}

export interface DatabaseStatus {
  readonly state: "primary" | "standby" | "starting" | "unreachable";
  /** PostgreSQL's system identifier, as text: it has 64 bits. */
  readonly systemId: string | undefined;
  readonly timeline: number | undefined;
  /** Position of the leader: written on a primary, replayed on a standby; `0/3000060`. */
  readonly lsn: string | undefined;
  /** Streaming replicas inside the region. */
  readonly replicas: number;
  /** Region that a standby streams from, as configured; undefined on a primary. */
  readonly source: string | undefined;
  /** Whether a standby's stream is up. */
  readonly streaming: boolean;
  readonly slots: readonly {
    readonly name: string;
    readonly active: boolean;
    /** PostgreSQL's wal_status: reserved, extended, unreserved, lost; undefined where there is none. */
    readonly walStatus: string | undefined;
    readonly retainedBytes: number | undefined;
  }[];
}

/** One way of data into this region. */
export interface LinkStatus {
  readonly source: string;
  readonly target: string;
  readonly kind: "postgresql" | "sessions";
  readonly healthy: boolean;
  /** Seconds behind the source; undefined while unknown. */
  readonly lagSeconds: number | undefined;
  /** PostgreSQL: bytes of WAL behind. Sessions: keys waiting. */
  readonly lagBytes: number | undefined;
  readonly pendingKeys: number | undefined;
  /** Errors in the last hour. */
  readonly errors: number;
  readonly lastError: string | undefined;
  /** Sessions: batches applied since the controller's start. */
  readonly batches: number | undefined;
  /** Why it is not healthy, or something worth knowing. */
  readonly detail: string;
}

/** Kind of the problem of a region whose database is not there, and which cannot be given one just now. */
export const DATABASE_WAITS = "database-waits";

export interface Problem {
  /** Machine-readable, such as `timeline-forked`. */
  readonly kind: string;
  readonly subject: string;
  readonly message: string;
}

/** `GET /status`. */
export interface RegionStatus {
  readonly region: string;
  readonly now: string;
  readonly startedAt: string;
  readonly active: ActiveRecord | undefined;
  readonly witness: {
    readonly reachable: boolean;
    readonly members: readonly WitnessMember[];
    readonly lastError: string | undefined;
  };
  readonly database: DatabaseStatus;
  readonly links: readonly LinkStatus[];
  readonly consistency: {
    /** When content was last compared, and with whom; undefined before the first time. */
    readonly checkedAt: string | undefined;
    readonly source: string | undefined;
    readonly rows: number;
    readonly keys: number;
    readonly differences: number;
  };
  readonly problems: readonly Problem[];
  /** Fingerprints of the shared secrets, by name. */
  readonly fingerprints: Readonly<Record<string, string>>;
}

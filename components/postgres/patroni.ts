import { stringify } from "yaml";
import { COMPONENTS, PORTS, SERVICES } from "../common/names.ts";
import { selectorOf, type Labels, type RegionContext } from "../common/context.ts";
import { ROLES, slotOfRegion, type PostgresSettings } from "./settings.ts";

/** Where things are in the containers of a database pod. */
export const PATHS = {
  /** Patroni's configuration: a folder, whose files it lays over one another in the order of their names. */
  config: "/etc/patroni",
  scripts: "/etc/iam-ha",
  tls: "/etc/postgresql/tls",
  volume: "/var/lib/postgresql/data",
  /** Below the mount point, because a file system's root has things of its own, such as lost+found. */
  data: "/var/lib/postgresql/data/pgdata",
  sockets: "/run/postgresql",
  patroniRun: "/run/patroni",
  /** What Patroni is started with: links to the files of `config`, and what was decided at the cluster's birth. */
  patroniConfig: "/run/patroni/config",
  reconcilerRun: "/run/reconciler",
} as const;

/** Files of the folder `PATHS.config`. JSON is YAML too, and Python reads it without help. */
export const CONFIG_FILES = {
  local: "10-patroni.yml",
  dynamic: "20-dynamic.yml",
  credentials: "30-credentials.yml",
} as const;

/** Patroni names the objects that hold the cluster's state after it; here it is the primary's Service. */
export const SCOPE = SERVICES.postgresPrimary;

/** How members of a standby cluster are copied: by clone.py, from the local leader, or from the other region when the
 *  local leader itself can no longer follow. Stands in `standby_cluster.create_replica_methods`, before `basebackup`. */
export const CLONE_METHOD = "iam_ha_clone";

/** Label of the scope, and that of the role, as Patroni calls them by default. */
export const SCOPE_LABEL = "cluster-name";
export const ROLE_LABEL = "role";

/** Value of the role label for each of Patroni's roles. */
export const ROLE_VALUES = { primary: "primary", replica: "replica", standbyLeader: "standby-leader" } as const;

/** The labels by which Patroni finds its pods, and which it puts on the objects it keeps its state in. */
export function patroniLabels(ctx: RegionContext): Labels {
  return selectorOf(ctx, COMPONENTS.postgres);
}

export interface Passwords {
  readonly superuser: string;
  readonly replication: string;
  readonly rewind: string;
  readonly application: string;
  readonly monitor: string;
  readonly restApi: string;
}

export interface DynamicConfig {
  readonly postgresql: { readonly parameters: Readonly<Record<string, string | number>> } & Record<string, unknown>;
  readonly slots: Readonly<Record<string, unknown>>;
  readonly [key: string]: unknown;
}

/** What all members share and Patroni keeps in the cluster's state. Patroni reads it from the file when the cluster is
 *  made; after that the reconciler brings changes to the cluster. Only what is written here is ever changed: never
 *  `standby_cluster`, `pause` or another key that is turned at run time. */
export function dynamicConfig(settings: PostgresSettings, peers: readonly string[]): DynamicConfig {
  const { patroni: p, synchronous: sync } = settings;
  const slots = [...settings.slots, ...peers.map(slotOfRegion)];
  return {
    ttl: p.ttlSeconds,
    loop_wait: p.loopWaitSeconds,
    retry_timeout: p.retryTimeoutSeconds,
    primary_start_timeout: p.primaryStartTimeoutSeconds,
    primary_stop_timeout: p.primaryStopTimeoutSeconds,
    maximum_lag_on_failover: p.maximumLagOnFailoverBytes,
    member_slots_ttl: p.memberSlotsTtlSeconds,
    failsafe_mode: p.failsafeMode,
    synchronous_mode: sync.mode === "quorum" ? "quorum" : sync.mode === "priority",
    synchronous_mode_strict: sync.strict,
    synchronous_node_count: sync.nodeCount,
    // Every region keeps a slot for every other one from the start, also for the way back after a takeover.
    slots: Object.fromEntries(slots.map((name) => [name, { type: "physical" }])),
    postgresql: {
      use_pg_rewind: true,
      use_slots: true,
      parameters: { ...settings.parameters, ...settings.extraParameters },
    },
  };
}

/** What each member has of its own. All of it can be reloaded, but for addresses and folders, which never change. The
 *  pod's name and addresses come from its environment. */
export function localConfig(ctx: RegionContext, settings: PostgresSettings): Record<string, unknown> {
  const certificate = { certfile: `${PATHS.tls}/tls.crt`, keyfile: `${PATHS.tls}/tls.key` };
  const cacert = `${PATHS.tls}/ca.crt`;
  return {
    scope: SCOPE,
    log: {
      level: settings.patroni.logLevel,
      format: "time=%(asctime)s level=%(levelname)s logger=%(name)s msg=%(message)s",
      dateformat: "%Y-%m-%dT%H:%M:%S%z",
    },
    kubernetes: {
      use_endpoints: true,
      labels: patroniLabels(ctx),
      scope_label: SCOPE_LABEL,
      role_label: ROLE_LABEL,
      leader_label_value: ROLE_VALUES.primary,
      follower_label_value: ROLE_VALUES.replica,
      standby_leader_label_value: ROLE_VALUES.standbyLeader,
      // The name is that of the Service's port: kube-proxy matches the two.
      ports: [{ name: "postgresql", port: PORTS.postgres }],
    },
    // Reading is open to probes and load balancers, changing anything takes the password.
    restapi: { listen: `0.0.0.0:${PORTS.patroni}`, ...certificate },
    // Members call each other by the names of their pods, which the certificate is good for.
    ctl: { cacert },
    bootstrap: {
      initdb: [
        { encoding: "UTF8" },
        // Sorting by code point, built into PostgreSQL: no index breaks when an image brings another libc.
        { "locale-provider": "builtin" },
        { "builtin-locale": "C.UTF-8" },
        { locale: "C.UTF-8" },
        { "auth-local": "peer" },
        { "auth-host": "scram-sha-256" },
        "data-checksums",
      ],
      post_bootstrap: `/usr/bin/python3 ${PATHS.scripts}/roles.py`,
    },
    postgresql: {
      listen: `*:${PORTS.postgres}`,
      data_dir: PATHS.data,
      pgpass: `${PATHS.patroniRun}/pgpass`,
      use_unix_socket: true,
      use_unix_socket_repl: true,
      // A base backup shows its progress, and starts at once instead of waiting for the next checkpoint.
      basebackup: [{ checkpoint: "fast" }, "progress"],
      // no_leader: also a standby cluster of one, which is nobody's replica, can be copied anew from its source.
      [CLONE_METHOD]: { command: `/usr/bin/python3 ${PATHS.scripts}/clone.py`, no_leader: true },
      parameters: fixedParameters(),
      pg_hba: hbaRules(settings, ctx.wan.peerNetworks),
    },
  };
}

/** Parameters of PostgreSQL that are not for choosing; see RESERVED_PARAMETERS. */
function fixedParameters(): Record<string, string> {
  return {
    unix_socket_directories: PATHS.sockets,
    password_encryption: "scram-sha-256",
    ssl: "on",
    ssl_cert_file: `${PATHS.tls}/tls.crt`,
    ssl_key_file: `${PATHS.tls}/tls.key`,
    ssl_min_protocol_version: "TLSv1.3",
    logging_collector: "off",
    log_destination: "stderr",
    log_timezone: "UTC",
    log_line_prefix: "time=%m pid=%p session=%c user=%u db=%d app=%a client=%h sqlstate=%e ",
    // Values bound to statements are people's data: they stay out of the log.
    log_parameter_max_length: "0",
    log_parameter_max_length_on_error: "0",
  };
}

/** Who may log in. Inside the pod the operating system's user is the superuser, without a password; from elsewhere only
 *  with TLS and password, the superuser not at all, and each role only to what it is for. Other regions come to stream
 *  and to rewind, and for nothing else. No line matches a connection without TLS, so it is refused. */
export function hbaRules(settings: PostgresSettings, peerNetworks: readonly string[]): string[] {
  const { user, database } = settings.application;
  const remote = (db: string, role: string, networks: readonly string[] = settings.clientNetworks) =>
    networks.map((network) => `hostssl ${db} ${role} ${network} scram-sha-256`);
  const wide = [...new Set([...settings.clientNetworks, ...peerNetworks])];
  return [
    `local all ${ROLES.superuser} peer`,
    `local replication ${ROLES.replication} scram-sha-256`,
    ...remote("replication", ROLES.replication, wide),
    ...remote("postgres", ROLES.rewind, wide),
    ...remote(`${database},postgres`, ROLES.monitor),
    ...remote(database, user),
  ];
}

/** The secret part of the configuration. Servers are verified by name, wherever a member connects to. */
export function credentialsConfig(passwords: Passwords): Record<string, unknown> {
  const tls = { sslmode: "verify-full", sslrootcert: `${PATHS.tls}/ca.crt` };
  return {
    restapi: { authentication: { username: "patroni", password: passwords.restApi } },
    postgresql: {
      authentication: {
        superuser: { username: ROLES.superuser, password: passwords.superuser, ...tls },
        replication: { username: ROLES.replication, password: passwords.replication, ...tls },
        rewind: { username: ROLES.rewind, password: passwords.rewind, ...tls },
      },
    },
    // Not Patroni's: read by roles.py.
    iam_ha: {
      application: { password: passwords.application },
      monitor: { username: ROLES.monitor, password: passwords.monitor },
    },
  };
}

/** What the reconciler and roles.py need to know besides Patroni's own files. */
export function reconcilerConfig(settings: PostgresSettings): Record<string, unknown> {
  return {
    interval_seconds: settings.reconciler.intervalSeconds,
    rolling_restarts: settings.reconciler.restarts === "rolling",
    // How long nobody is restarted after a change: members notice it in rounds of their own.
    quiet_seconds: 30 + 3 * settings.patroni.loopWaitSeconds,
    members: settings.replicas,
    max_lag_bytes: settings.maxReplicaLagBytes,
    rebuild_after_seconds: settings.reconciler.rebuildAfterSeconds,
    clone_method: CLONE_METHOD,
    application: settings.application,
  };
}

/** The files of `PATHS.config` that hold no secret. */
export function configFiles(
  ctx: RegionContext,
  settings: PostgresSettings,
  peers: readonly string[],
): Record<string, string> {
  // Patroni keeps keys that it does not know. This one tells whose configuration it is, wherever a copy of it gets to.
  const bootstrap = { bootstrap: { dcs: { iam_ha_region: ctx.region, ...dynamicConfig(settings, peers) } } };
  return {
    [CONFIG_FILES.local]: stringify(localConfig(ctx, settings), { lineWidth: 0 }),
    [CONFIG_FILES.dynamic]: `${JSON.stringify(bootstrap, undefined, 2)}\n`,
  };
}

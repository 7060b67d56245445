import { PORTS } from "../common/names.ts";
import { poolsOf, type PoolerSettings } from "./settings.ts";

/** Names under which clients reach the two entries, as the database of their connection. */
export const ENTRY_DATABASES = { write: "iam", read: "iam_ro" } as const;

/** Ports inside the pod: of PgBouncer, and of HAProxy. `write` and `read` are on the loopback interface and only for
 *  PgBouncer. */
export const POOLER_PORTS = { pooler: PORTS.pooler, write: 5432, read: 5433, metrics: 8404 } as const;

/** Where HAProxy listens for PgBouncer. Not 127.0.0.1: PgBouncer's resolver (c-ares) takes all names that share an address
 *  in /etc/hosts for one host, and so would find ::1, as `localhost` has it, under the database's names too. */
export const POOLER_LOOPBACK = "127.0.0.2";

/** The user that may look at the pools (SHOW POOLS, SHOW STATS, ...) and do nothing else. */
export const STATS_USER = "pooler_stats";

/** Where things are in the pod's containers. */
export const POOLER_PATHS = {
  config: "/etc/pgbouncer",
  users: "/etc/pgbouncer-users",
  tls: "/etc/pgbouncer-tls",
  haproxy: "/etc/haproxy",
  run: "/run/pgbouncer",
  haproxyRun: "/run/haproxy",
} as const;

/** What the generated files depend on, all of it plain. */
export interface PoolerPlan {
  readonly settings: PoolerSettings;
  /** The application's role in the database. */
  readonly user: string;
  /** The database behind both entries. */
  readonly database: string;
  /** Names for the two entries' servers: they stand for the loopback interface in the pod, and are in the certificate of
   *  every database pod, so that PgBouncer can check it through HAProxy. */
  readonly servers: { readonly write: string; readonly read: string };
  /** Every database pod, fully qualified; the primary is any of them. */
  readonly nodes: readonly { readonly name: string; readonly host: string }[];
  readonly ports: { readonly [name in keyof typeof POOLER_PORTS]: number };
  readonly postgresPort: number;
  readonly patroniPort: number;
  /** A replica further behind than this takes no reads, bytes. */
  readonly maxReplicaLagBytes: number;
}

/** Milliseconds as PgBouncer reads them: seconds, with a fraction. */
function seconds(millis: number): string {
  return String(millis / 1000);
}

/** pgbouncer.ini. Every line may change while PgBouncer runs: it reads the file again on SIGHUP. */
export function pgbouncerIni(plan: PoolerPlan): string {
  const { settings, servers, ports } = plan;
  const { write, read } = poolsOf(settings);
  const entry = (name: string, server: string, port: number, pool: typeof write, lifetimeSeconds: number) =>
    `${name} = host=${server} port=${port} dbname=${plan.database} user=${plan.user}` +
    ` pool_size=${pool.max} min_pool_size=${pool.min} max_db_connections=${pool.max} server_lifetime=${lifetimeSeconds}`;
  return `[databases]
; A user that is set here keeps min_pool_size connections open even with no client. Who may be a client says hba.conf.
${entry(ENTRY_DATABASES.write, servers.write, ports.write, write, settings.writeLifetimeSeconds)}
${entry(ENTRY_DATABASES.read, servers.read, ports.read, read, settings.readLifetimeSeconds)}

[pgbouncer]
listen_addr = *
listen_port = ${ports.pooler}
unix_socket_dir = ${POOLER_PATHS.run}

auth_type = hba
auth_hba_file = ${POOLER_PATHS.config}/hba.conf
auth_file = ${POOLER_PATHS.users}/userlist.txt
stats_users = ${STATS_USER}

client_tls_sslmode = require
client_tls_protocols = secure
client_tls_cert_file = ${POOLER_PATHS.tls}/tls.crt
client_tls_key_file = ${POOLER_PATHS.tls}/tls.key
server_tls_sslmode = verify-full
server_tls_protocols = secure
server_tls_ca_file = ${POOLER_PATHS.tls}/ca.crt

pool_mode = transaction
max_prepared_statements = ${settings.maxPreparedStatements}
max_client_conn = ${settings.maxClientConnections}
reserve_pool_size = 0
; In turn, not last used first: otherwise one replica would get most reads while there is little load.
server_round_robin = 1

; acquire, create, create retry, idle
query_wait_timeout = ${seconds(write.acquireTimeoutMillis)}
server_connect_timeout = ${seconds(write.createTimeoutMillis)}
server_login_retry = ${seconds(write.createRetryIntervalMillis)}
server_idle_timeout = ${seconds(write.idleTimeoutMillis)}

server_check_query = SELECT 1
server_check_delay = ${settings.serverCheckDelaySeconds}
; How long a query may take is for those to say who send it.
query_timeout = 0
idle_transaction_timeout = ${settings.idleTransactionTimeoutSeconds}
client_idle_timeout = 0
client_login_timeout = 15

; A client whose machine vanished is noticed within a minute.
tcp_keepalive = 1
tcp_keepidle = 30
tcp_keepintvl = 10
tcp_keepcnt = 3
tcp_user_timeout = 60000

; Sent by the drivers of some languages; has no meaning across pooled connections.
ignore_startup_parameters = extra_float_digits
application_name_add_host = 1

; To standard error. One line a connection would be mostly probes.
log_connections = 0
log_disconnections = 0
log_pooler_errors = 1
stats_period = 60
`;
}

/** Who may connect to what, with a password and over TLS only. Needed as both entries log in to the database as the
 *  application whoever the client is: without this the user for statistics could read the data. */
export function hbaConf(plan: Pick<PoolerPlan, "user">): string {
  return `hostssl ${ENTRY_DATABASES.write},${ENTRY_DATABASES.read} ${plan.user} all scram-sha-256
hostssl pgbouncer ${STATS_USER} all scram-sha-256
`;
}

/** userlist.txt: secret. Plain passwords, since PgBouncer also logs in to the database with the application's, which
 *  a SCRAM verifier does not allow.
 *  @throws RangeError on a character that the file's format would have to escape */
export function userlist(users: Readonly<Record<string, string>>): string {
  for (const text of Object.entries(users).flat()) {
    if (/["\n\r\0]/.test(text))
      throw new RangeError("a user or password has a character that pgbouncer's user list does not allow");
  }
  return Object.entries(users)
    .map(([user, password]) => `"${user}" "${password}"\n`)
    .join("");
}

/** haproxy.cfg: plain TCP from the loopback interface to the primary and the replicas, as Patroni's REST API names them. */
export function haproxyCfg(plan: PoolerPlan): string {
  const { settings, ports } = plan;
  const { healthCheck } = settings;
  const { write, read } = poolsOf(settings);
  const fast = Math.max(100, Math.round(healthCheck.intervalMillis / 3));
  const checked = (node: { name: string; host: string }) =>
    `  server ${node.name} ${node.host}:${plan.postgresPort} check verifyhost ${node.host} check-sni ${node.host}`;
  const check = (path: string) => `  option httpchk OPTIONS ${path} HTTP/1.0
  http-check expect status 200`;
  return `global
  # Both pools are 100 at most, and their connections may be there twice while old ones linger.
  maxconn 1000
  nbthread 1
  stats socket ${POOLER_PATHS.haproxyRun}/admin.sock mode 600 level admin
  ssl-default-server-options ssl-min-ver TLSv1.2 no-tls-tickets
  # On a reload (new CA) the old process no longer follows the primary: it must not stay.
  hard-stop-after 30s

defaults
  mode tcp
  timeout connect 3s
  timeout check ${healthCheck.timeoutMillis}ms
  # Idle connections belong to PgBouncer, long queries to whoever sends them; dead peers are found by keepalive.
  timeout client 24h
  timeout server 24h
  option clitcpka
  option srvtcpka
  srvtcpka-idle 10s
  srvtcpka-intvl 5s
  srvtcpka-cnt 3
  option redispatch
  retries 2
  default-server port ${plan.patroniPort} inter ${healthCheck.intervalMillis}ms fastinter ${fast}ms downinter ${healthCheck.intervalMillis}ms fall ${healthCheck.fall} rise ${healthCheck.rise} check-ssl verify required ca-file ${POOLER_PATHS.tls}/ca.crt on-marked-down shutdown-sessions init-addr none resolvers cluster resolve-prefer ipv4

# Pods come back with new addresses; their names stay. While DNS itself is away, the last address is kept.
resolvers cluster
  parse-resolv-conf
  accepted_payload_size 1232
  resolve_retries 2
  timeout resolve 1s
  timeout retry 1s
  hold valid 1s
  hold nx 10s
  hold refused 1h
  hold timeout 1h
  hold other 1h

frontend health
  mode http
  timeout client 10s
  bind :${ports.metrics}
  monitor-uri /healthz
  http-request use-service prometheus-exporter if { path /metrics }
  http-request return status 404 content-type text/plain string "not found"

frontend write
  bind ${POOLER_LOOPBACK}:${ports.write}
  timeout client-fin ${write.destroyTimeoutMillis}ms
  default_backend primary

# Reads go to whoever leads the region (the primary, or the leader of a standby region) only while no replica is fit.
frontend read
  bind ${POOLER_LOOPBACK}:${ports.read}
  timeout client-fin ${read.destroyTimeoutMillis}ms
  use_backend replicas if { nbsrv(replicas) gt 0 }
  default_backend leader

backend primary
  timeout server-fin ${write.destroyTimeoutMillis}ms
${check("/primary")}
${plan.nodes.map((node) => checked(node)).join("\n")}

backend replicas
  balance ${settings.readBalance}
  timeout server-fin ${read.destroyTimeoutMillis}ms
${check(`/replica?lag=${plan.maxReplicaLagBytes}`)}
${plan.nodes.map((node) => checked(node)).join("\n")}

backend leader
  timeout server-fin ${read.destroyTimeoutMillis}ms
${check("/leader")}
${plan.nodes.map((node) => checked(node)).join("\n")}
`;
}

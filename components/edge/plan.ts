import { errorPages, peerErrorMaps, peerErrorPages } from "./errors.ts";
import { fromPeer, noPeer, peer } from "./peer.ts";
import { proxy, upstream } from "./proxy.ts";
import { servers } from "./servers.ts";
import { PORTS } from "../common/names.ts";
import { workerProcesses, type EdgeSettings } from "./settings.ts";
import { block, comment, d, literal, print, type Node } from "./syntax.ts";

/** Where the image and the pod have things. */
export const PATHS = {
  config: "/etc/nginx/conf",
  main: "/etc/nginx/conf/nginx.conf",
  tls: "/etc/nginx/tls",
  clientTls: "/etc/nginx/client-tls",
  /** Where the sidecar writes which way requests go; watched, so that what is put there is reloaded. */
  upstreams: "/etc/nginx/upstreams",
  run: "/run/nginx",
  cache: "/var/cache/nginx",
} as const;

/** Ports of the pod; above 1023, as NGINX does not run as root. */
export interface EdgePorts {
  readonly http: number;
  readonly https: number;
  /** Requests that edges of other regions pass on. */
  readonly peer: number;
  /** stub_status, on the pod's loopback only: for an exporter beside NGINX. */
  readonly status: number;
  /** /health in plain HTTP and never with a PROXY header: for the kubelet's probes. */
  readonly health: number;
}
export const EDGE_PORTS: EdgePorts = { http: 8080, https: 8443, peer: PORTS.edgePeer, status: 8081, health: 8082 };

/** The API pods behind the edge. */
export interface EdgeUpstream {
  /** Host names or addresses, one per API pod. NGINX resolves them once, when it reads its configuration: each must be
   *  the stable address of its pod (a Service of its own), and must exist before. */
  readonly servers: readonly string[];
  readonly port: number;
  /** Whether the API speaks HTTPS and asks for the edge's client certificate. */
  readonly tls: boolean;
  /** Name for which the API's certificate must be good; only with `tls`. */
  readonly tlsName: string;
}

export interface EdgePlan {
  readonly settings: EdgeSettings;
  readonly region: string;
  readonly domain: string;
  readonly upstream: EdgeUpstream;
  /** Default: `EDGE_PORTS`. */
  readonly ports?: EdgePorts;
}

/** Files of the configuration; `tree` for those who look at directives, `text` for NGINX. */
export type EdgeFiles = Record<string, readonly Node[]>;

export const UPSTREAM = "iam_api";

/** Header that names the region whose API answered; errors of the edge itself are without it. */
export const REGION_HEADER = "X-IAM-Region";

/** Every host name that the edge answers to: the platform's, the API's, and the API's of this region; then those added. */
export function serverNames(plan: Pick<EdgePlan, "domain" | "region" | "settings">): string[] {
  const own = [plan.domain, `api.${plan.domain}`, `api-${plan.region}.${plan.domain}`];
  return [...new Set([...own, ...plan.settings.serverNames])];
}

/** The variable that holds a request's id. An id that came with the request is taken over only from a trusted proxy and
 *  from another region's edge. */
export const REQUEST_ID = "$edge_request_id";

/** The configuration as text, by file name. */
export function edgeConfig(plan: EdgePlan): Record<string, string> {
  return Object.fromEntries(Object.entries(edgeTree(plan)).map(([file, nodes]) => [file, print(nodes)]));
}

/** The configuration as directives, by file name. */
export function edgeTree(plan: EdgePlan): EdgeFiles {
  const { settings } = plan;
  const { retryAfterSeconds } = settings.limits;
  return {
    "nginx.conf": main(plan),
    "upstream.conf": upstream(plan),
    "servers.conf": servers(plan, plan.ports ?? EDGE_PORTS, serverNames(plan)),
    "proxy.conf": proxy(plan, REQUEST_ID),
    "peer.conf": peer(settings, REQUEST_ID),
    "headers-http.conf": headers(settings),
    "headers-https.conf": [...headers(settings), hsts(settings)],
    "headers-api.conf": [d("include", "headers-https.conf"), d("add_header", REGION_HEADER, plan.region, "always")],
    "errors-http.conf": errorPages("headers-http.conf", retryAfterSeconds, REQUEST_ID),
    "errors-https.conf": errorPages("headers-https.conf", retryAfterSeconds, REQUEST_ID),
    "errors-peer.conf": peerErrorPages(),
  };
}

/** Statuses whose responses may be kept: 200, 206 and 304, also as the last one of "502, 200". */
const KEPT = "~(^|[ ,:])(200|206|304)$";

function main(plan: EdgePlan): Node[] {
  const { settings } = plan;
  const { connections } = settings.workers;
  return [
    comment("Made from the stack's configuration (iam-ha:edge); changes belong there."),
    d("worker_processes", workerProcesses(settings)),
    // A connection takes a descriptor, and so may its temporary file.
    d("worker_rlimit_nofile", connections * 2 + 512),
    d("worker_shutdown_timeout", `${settings.drainSeconds}s`),
    d("pid", `${PATHS.run}/nginx.pid`),
    d("error_log", "/dev/stderr", settings.log.level),
    block("events", [], [d("worker_connections", connections), d("multi_accept", "on")]),
    block(
      "http",
      [],
      [
        ...basics(settings),
        ...clientAddress(settings),
        ...requestId(settings, plan.ports ?? EDGE_PORTS),
        ...logging(settings),
        ...compression(settings),
        ...tls(settings),
        ...limits(settings),
        comment(
          "Only what the API really sent may be kept by clients, not an error. After a retry the last status counts.",
        ),
        block(
          "map",
          ["$upstream_status", "$static_expires"],
          [d("default", "off"), d(KEPT, `${settings.staticMaxAgeSeconds}s`)],
        ),
        block("map", ["$upstream_status", "$static_cache_control"], [d("default", ""), d(KEPT, "public, immutable")]),
        ...peerErrorMaps(),
        ...noPeer(),
        comment("What the sidecar writes: a later map of the same variable takes the place of the one above."),
        d("include", `${PATHS.upstreams}/*.conf`),
        d("include", "upstream.conf"),
        d("include", "servers.conf"),
      ],
    ),
  ];
}

function basics(settings: EdgeSettings): Node[] {
  return [
    comment("NGINX serves no files: a type never follows from a path's ending, not even an error's."),
    block("types", [], []),
    d("default_type", "application/octet-stream"),
    d("server_tokens", "off"),
    d("sendfile", "on"),
    d("tcp_nopush", "on"),
    d("tcp_nodelay", "on"),
    d("keepalive_timeout", `${settings.keepaliveSeconds}s`),
    d("client_max_body_size", `${settings.maxBodyMegabytes}m`),
    d("client_header_timeout", `${settings.clientTimeoutSeconds}s`),
    d("client_body_timeout", `${settings.clientTimeoutSeconds}s`),
    d("send_timeout", `${settings.clientTimeoutSeconds}s`),
    d("reset_timedout_connection", "on"),
    comment("Redirects that NGINX makes itself name no host and no port: the pod's are not the client's."),
    d("absolute_redirect", "off"),
    comment("Names of up to 253 characters."),
    d("server_names_hash_bucket_size", 512),
    d("server_names_hash_max_size", 1024),
    comment("The root file system is read-only."),
    ...["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((kind) =>
      d(`${kind}_temp_path`, `${PATHS.cache}/${kind}`),
    ),
  ];
}

/** Sets $remote_addr, which limits, logs and the API see, to the client's address. */
function clientAddress(settings: EdgeSettings): Node[] {
  const { mode, trusted } = settings.clientAddress;
  if (mode === "direct") return [];
  const from = trusted.map((network) => d("set_real_ip_from", network));
  if (mode === "proxy-protocol") return [...from, d("real_ip_header", "proxy_protocol")];
  return [
    ...from,
    d("real_ip_header", "X-Forwarded-For"),
    d("real_ip_recursive", "on"),
    block(
      "geo",
      ["$realip_remote_addr", "$edge_from_proxy"],
      [d("default", 0), ...trusted.map((network) => d(network, 1))],
    ),
  ];
}

/** Sets the request's id: one that came with it where its sender is believed, and one of its own otherwise. */
function requestId({ clientAddress: { mode } }: EdgeSettings, ports: EdgePorts): Node[] {
  const proxies = mode === "x-forwarded-for" ? "$edge_from_proxy" : "0";
  return [
    ...fromPeer(ports.peer),
    block(
      "map",
      [`${proxies}:$edge_from_peer:$http_x_request_id`, REQUEST_ID],
      [
        d("default", "$request_id"),
        d("~^(1:0|0:1|1:1):(?<given_request_id>[A-Za-z0-9_-]{8,64})$", "$given_request_id"),
      ],
    ),
  ];
}

/** What each log line tells; the design's fields, and the request's id. */
const LOG_JSON = {
  time: "$time_iso8601",
  remote_addr: "$remote_addr",
  request_id: REQUEST_ID,
  host: "$host",
  request: "$request",
  status: "$status",
  body_bytes_sent: "$body_bytes_sent",
  referer: "$http_referer",
  user_agent: "$http_user_agent",
  rt: "$request_time",
  uct: "$upstream_connect_time",
  uht: "$upstream_header_time",
  urt: "$upstream_response_time",
  upstream: "$upstream_addr",
};

function logging(settings: EdgeSettings): Node[] {
  const format =
    settings.log.format === "json"
      ? d("log_format", "main", "escape=json", JSON.stringify(LOG_JSON))
      : d(
          "log_format",
          "main",
          `$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent" ` +
            `"$http_x_forwarded_for" rt=$request_time uct="$upstream_connect_time" uht="$upstream_header_time" ` +
            `urt="$upstream_response_time" rid=${REQUEST_ID}`,
        );
  return [
    format,
    comment("Written in blocks: one write per line costs more than the line."),
    d("access_log", "/dev/stdout", "main", "buffer=32k", "flush=1s"),
  ];
}

function compression(settings: EdgeSettings): Node[] {
  const { level, minBytes } = settings.gzip;
  if (level === 0) return [d("gzip", "off")];
  return [
    d("gzip", "on"),
    d("gzip_vary", "on"),
    d("gzip_proxied", "any"),
    d("gzip_min_length", minBytes),
    d("gzip_comp_level", level),
    // text/html is always among them.
    d(
      "gzip_types",
      ...["text/plain", "text/css", "text/xml", "text/javascript", "application/json", "application/javascript"],
      ...["application/xml+rss", "application/rss+xml", "application/atom+xml", "image/svg+xml"],
    ),
  ];
}

/** Forward secrecy and authenticated encryption only, for keys of either kind. TLS 1.3 has its own list. */
const CIPHERS = ["AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305"].flatMap((c) => [
  `ECDHE-ECDSA-${c}`,
  `ECDHE-RSA-${c}`,
]);

function tls(settings: EdgeSettings): Node[] {
  return [
    d("ssl_certificate", `${PATHS.tls}/tls.crt`),
    d("ssl_certificate_key", `${PATHS.tls}/tls.key`),
    d("ssl_protocols", ...settings.tls.protocols),
    d("ssl_ciphers", CIPHERS.join(":")),
    d("ssl_prefer_server_ciphers", "off"),
    d("ssl_session_cache", "shared:TLS:10m"),
    d("ssl_session_timeout", `${settings.tls.sessionTimeoutSeconds}s`),
    comment("A ticket's key would outlive forward secrecy: NGINX changes it at a restart only."),
    d("ssl_session_tickets", "off"),
  ];
}

function limits(settings: EdgeSettings): Node[] {
  const { api, login, zoneMegabytes } = settings.limits;
  const zone = (name: string, rate: number) =>
    d("limit_req_zone", "$binary_remote_addr", `zone=${name}:${zoneMegabytes}m`, `rate=${rate}r/s`);
  // A flood is seen in the access log; each line of it in the error log too would only help the flood.
  return [
    zone("api", api.ratePerSecond),
    zone("login", login.ratePerSecond),
    d("limit_req_status", 429),
    d("limit_req_log_level", "info"),
  ];
}

/** NGINX drops the inherited headers wherever a block adds one: so whoever adds one includes these. */
function headers(settings: EdgeSettings): Node[] {
  return [
    ...Object.entries(settings.securityHeaders).map(([name, value]) => d("add_header", name, literal(value), "always")),
    d("add_header", "X-Request-ID", REQUEST_ID, "always"),
  ];
}

/** Over HTTPS only: in a plain response it means nothing, and must not be there (RFC 6797, 7.2). */
function hsts({ tls: { hstsSeconds, hstsIncludeSubDomains } }: EdgeSettings): Node {
  return d(
    "add_header",
    "Strict-Transport-Security",
    `max-age=${hstsSeconds}${hstsIncludeSubDomains ? "; includeSubDomains" : ""}`,
    "always",
  );
}

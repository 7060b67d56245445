import { edgesOnly, peerLocations, peerOnly, toPeer } from "./peer.ts";
import type { EdgePlan, EdgePorts } from "./plan.ts";
import type { EdgeSettings } from "./settings.ts";
import { block, comment, d, literal, type Directive, type Node } from "./syntax.ts";

/** The virtual servers: for known host names and for all others, on both ports; and two for what watches NGINX. */
export function servers(plan: EdgePlan, ports: EdgePorts, names: readonly string[]): Node[] {
  const { settings } = plan;
  const known = d("server_name", ...names.map(literal));
  const secure = [d("http2", "on"), d("include", "headers-https.conf"), d("include", "errors-https.conf")];
  const plain = [d("include", "headers-http.conf"), d("include", "errors-http.conf")];
  const publicPort = settings.publicHttpsPort === 443 ? "" : `:${settings.publicHttpsPort}`;
  return [
    comment("Plain HTTP: to HTTPS. The host is one of the known names and not whatever a client wrote."),
    block(
      "server",
      [],
      [
        ...listen(settings, ports.http, []),
        known,
        ...plain,
        health("headers-http.conf"),
        block("location", ["/"], [d("return", 301, `https://$host${publicPort}$request_uri`)]),
      ],
    ),
    block(
      "server",
      [],
      [
        ...listen(settings, ports.https, ["ssl"]),
        known,
        ...secure,
        health("headers-https.conf"),
        ...locations(settings, (limit) => [...toPeer(limit), d("limit_req", ...limit.args)]),
        ...statics(),
        ...peerLocations(),
        block("location", ["/"], [d("return", 404)]),
      ],
    ),
    comment("Edges of other regions, with what they pass on: served here whoever is active, so nothing goes round."),
    block(
      "server",
      [],
      [
        ...listen(settings, ports.peer, ["ssl"]),
        ...peerOnly(),
        d("include", "headers-https.conf"),
        d("include", "errors-https.conf"),
        ...locations(settings, (limit) => [edgesOnly(), d("limit_req", ...limit.args)]),
        block("location", ["/"], [d("return", 404)]),
      ],
    ),
    comment("Unknown hosts: nothing but /health, for load balancers that ask by address."),
    block(
      "server",
      [],
      [
        ...listen(settings, ports.http, ["default_server"]),
        d("server_name", "_"),
        ...plain,
        health("headers-http.conf"),
        block("location", ["/"], [d("return", 421)]),
      ],
    ),
    block(
      "server",
      [],
      [
        ...listen(settings, ports.https, ["ssl", "default_server"]),
        d("server_name", "_"),
        ...secure,
        health("headers-https.conf"),
        block("location", ["/"], [d("return", 421)]),
      ],
    ),
    comment("The kubelet's probes: they never begin with a PROXY header, whatever the load balancer does."),
    block(
      "server",
      [],
      [
        ...addresses(settings, ports.health).map((address) => d("listen", address)),
        d("access_log", "off"),
        ...plain,
        health("headers-http.conf"),
        block("location", ["/"], [d("return", 404)]),
      ],
    ),
    comment("Figures for an exporter in the same pod."),
    block(
      "server",
      [],
      [
        d("listen", `127.0.0.1:${ports.status}`),
        d("access_log", "off"),
        block("location", ["=", "/stub_status"], [d("stub_status")]),
        block("location", ["/"], [d("return", 404)]),
      ],
    ),
  ];
}

function addresses(settings: EdgeSettings, port: number): (string | number)[] {
  return settings.ipv6 ? [port, `[::]:${port}`] : [port];
}

/** No `reuseport`: with it, a reload that takes workers away drops the connections that wait in their queues. */
function listen(settings: EdgeSettings, port: number, flags: readonly string[]): Directive[] {
  const all = [...flags, ...(settings.clientAddress.mode === "proxy-protocol" ? ["proxy_protocol"] : [])];
  return addresses(settings, port).map((address) => d("listen", address, ...all));
}

function health(headersFile: string): Directive {
  return block(
    "location",
    ["=", "/health"],
    [
      d("access_log", "off"),
      d("include", headersFile),
      d("add_header", "Cache-Control", "no-store", "always"),
      d("default_type", "text/plain"),
      d("return", 200, "healthy\n"),
    ],
  );
}

/** A limit's zone, as far as one is met at a path, and the arguments of its directive. */
export interface Limit {
  readonly zone: "api" | "login";
  readonly args: readonly string[];
}

/** Where requests reach the API.
 *  @param begin what comes before a request is passed on */
function locations(settings: EdgeSettings, begin: (limit: Limit) => Node[]): Directive[] {
  const { api, login } = settings.limits;
  const toApi = [d("include", "headers-api.conf"), d("include", "proxy.conf")];
  return [
    block("location", ["/api/"], [...begin(limit("api", api.burst)), ...toApi]),
    ...settings.loginPaths.flatMap((path) =>
      // The path itself and what is below it, but not its neighbours (/api/auth/login-history).
      [
        ["=", path],
        ["^~", `${path}/`],
      ].map((match) =>
        block("location", match, [
          ...begin(limit("login", login.burst)),
          // The response holds the session's secret. Compressed together with what an attacker may choose, its length
          // would tell the secret (BREACH).
          d("gzip", "off"),
          ...toApi,
        ]),
      ),
    ),
  ];
}

/** What does not change with who is active: from this region's pods, always. */
function statics(): Directive[] {
  return [
    block(
      "location",
      ["/static/"],
      [
        d("include", "proxy.conf"),
        d("proxy_hide_header", "Cache-Control"),
        d("proxy_hide_header", "Expires"),
        d("expires", "$static_expires"),
        d("include", "headers-api.conf"),
        d("add_header", "Cache-Control", "$static_cache_control"),
      ],
    ),
  ];
}

function limit(zone: Limit["zone"], burst: number): Limit {
  return { zone, args: [`zone=${zone}`, ...(burst > 0 ? [`burst=${burst}`] : []), "nodelay"] };
}

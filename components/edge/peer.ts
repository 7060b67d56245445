import { PEER_UPSTREAM, PEER_VARIABLE } from "../../sidecar/core/edge-route.ts";
import { EDGE_CLIENT_NAME } from "../common/names.ts";
import { PATHS } from "./plan.ts";
import { internalTls, ownHeaders } from "./proxy.ts";
import type { Limit } from "./servers.ts";
import type { EdgeSettings } from "./settings.ts";
import { block, comment, d, type Directive, type Node } from "./syntax.ts";

/** Edge to edge. An edge whose region is not active passes requests of the API to the active region's edge, to a port of
 *  its own that takes edges alone: what the request then says of its client is believed there, and it is served there.
 *  So the public ports have nothing to believe and ask browsers for no certificate, and a request is passed on once,
 *  whatever two edges believe. Limits are met where it is served: by the client's address, whichever edge it came by. */

const API = "/.peer/api";
const LOGIN = "/.peer/login";

/** Until the sidecar says otherwise, requests are served here. */
export function noPeer(): Node[] {
  return [
    comment("Edge of the active region, where that is another one; empty: this region serves."),
    block("map", ["", PEER_VARIABLE], [d("default", "")]),
  ];
}

/** Sets $edge_from_peer, 1 where the sender has shown that it is another region's edge. */
export function fromPeer(port: number): Node[] {
  return [
    block(
      "map",
      ["$server_port:$ssl_client_verify:$ssl_client_s_dn", "$edge_from_peer"],
      [d("default", 0), d(`~^${port}:SUCCESS:(.*,)?CN=${EDGE_CLIENT_NAME}(,.*)?$`, 1)],
    ),
  ];
}

/** Leads a request that another region serves out of its location, before any limit is met. */
export function toPeer({ zone }: Limit): Directive[] {
  return [block("if", [`(${PEER_VARIABLE})`], [d("rewrite", "^", zone === "login" ? LOGIN : API, "last")])];
}

/** Where `toPeer` leads to. */
export function peerLocations(): Directive[] {
  return [
    block("location", ["=", API], [d("internal"), d("include", "peer.conf")]),
    // Not compressed here either: see the login paths.
    block("location", ["=", LOGIN], [d("internal"), d("gzip", "off"), d("include", "peer.conf")]),
  ];
}

/** How a request is passed to another region's edge. */
export function peer(settings: EdgeSettings, requestId: string): Node[] {
  const { sendTimeoutSeconds, readTimeoutSeconds, bufferKilobytes, buffers } = settings.upstream;
  const { connectTimeoutSeconds } = settings.regions;
  return [
    comment("The request's address as it came: the location's own path is not the client's."),
    d("proxy_pass", `https://${PEER_UPSTREAM}$request_uri`),
    d("proxy_http_version", "1.1"),
    d("proxy_set_header", "Connection", ""),
    d("proxy_set_header", "Host", "$host"),
    comment("Who the client is; the other headers of this kind are made where the request is served."),
    d("proxy_set_header", "X-Real-IP", "$remote_addr"),
    d("proxy_set_header", "X-Forwarded-For", ""),
    d("proxy_set_header", "Forwarded", ""),
    d("proxy_set_header", "X-Request-ID", requestId),
    ...ownHeaders(settings).map((name) => d("proxy_hide_header", name)),
    d("proxy_connect_timeout", `${connectTimeoutSeconds}s`),
    d("proxy_send_timeout", `${sendTimeoutSeconds}s`),
    comment("The other edge gives up on its API first, and says so."),
    d("proxy_read_timeout", `${readTimeoutSeconds + 5}s`),
    d("proxy_buffering", "on"),
    // The other edge adds its headers to the API's.
    d("proxy_buffer_size", `${bufferKilobytes * 2}k`),
    d("proxy_buffers", buffers, `${bufferKilobytes}k`),
    d("proxy_max_temp_file_size", "64m"),
    comment("As with the API's pods: never twice what may have had an effect (POST, PATCH)."),
    d("proxy_next_upstream", "error", "timeout"),
    d("proxy_next_upstream_tries", 2),
    d("proxy_next_upstream_timeout", `${connectTimeoutSeconds + 1}s`),
    d("proxy_intercept_errors", "off"),
    d("include", "errors-peer.conf"),
    ...internalTls(),
    d("proxy_ssl_name", PEER_VARIABLE),
  ];
}

/** Refuses, of the parts that have internal certificates, all but edges. In each location and not once for the server:
 *  there it would meet the server's own error pages too. */
export function edgesOnly(): Directive {
  return block("if", ["($edge_from_peer", "=", "0)"], [d("return", 403)]);
}

/** What a server for other regions' edges begins with: their certificates are demanded, and their word is believed. */
export function peerOnly(): Node[] {
  return [
    d("server_name", "_"),
    comment("The internal certificate: public ones differ from region to region, and may be of anyone's CA."),
    d("ssl_certificate", `${PATHS.clientTls}/tls.crt`),
    d("ssl_certificate_key", `${PATHS.clientTls}/tls.key`),
    d("ssl_client_certificate", `${PATHS.clientTls}/ca.crt`),
    d("ssl_verify_client", "on"),
    d("ssl_verify_depth", 2),
    comment("Nobody gets as far as here without such a certificate, wherever it comes from."),
    d("set_real_ip_from", "0.0.0.0/0"),
    d("set_real_ip_from", "::/0"),
    d("real_ip_header", "X-Real-IP"),
    d("real_ip_recursive", "off"),
    comment("Longer than the other edge keeps an idle connection: it must not send on one that just closed."),
    d("keepalive_timeout", "75s"),
    d("keepalive_requests", 100_000),
  ];
}

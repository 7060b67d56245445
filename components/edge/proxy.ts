import { PATHS, REGION_HEADER, UPSTREAM, type EdgePlan, type EdgeUpstream } from "./plan.ts";
import type { EdgeSettings } from "./settings.ts";
import { block, comment, d, literal, type Node } from "./syntax.ts";

/** In a file of its own: a sidecar that follows the API's health may put its own in its place. */
export function upstream({ settings, upstream: to }: EdgePlan): Node[] {
  const { maxFails, failTimeoutSeconds, keepalive, keepaliveIdleSeconds } = settings.upstream;
  return [
    block(
      "upstream",
      [UPSTREAM],
      [
        // Counts are shared by the workers; without it each would have to find a dead pod for itself.
        d("zone", UPSTREAM, "256k"),
        d("least_conn"),
        ...to.servers.map((host) =>
          d("server", `${literal(host)}:${to.port}`, `max_fails=${maxFails}`, `fail_timeout=${failTimeoutSeconds}s`),
        ),
        d("keepalive", keepalive),
        d("keepalive_timeout", `${keepaliveIdleSeconds}s`),
      ],
    ),
  ];
}

/** What all locations that pass requests on have in common. */
export function proxy({ settings, upstream: to }: EdgePlan, requestId: string): Node[] {
  const { connectTimeoutSeconds, sendTimeoutSeconds, readTimeoutSeconds, bufferKilobytes, buffers } = settings.upstream;
  return [
    d("proxy_pass", `${to.tls ? "https" : "http"}://${UPSTREAM}`),
    comment("Without these two, NGINX speaks HTTP/1.0 and closes each connection: keepalive would do nothing."),
    d("proxy_http_version", "1.1"),
    d("proxy_set_header", "Connection", ""),
    comment("What a client says of itself in these is dropped, not passed on."),
    d("proxy_set_header", "Host", "$host"),
    d("proxy_set_header", "X-Real-IP", "$remote_addr"),
    d("proxy_set_header", "X-Forwarded-For", "$remote_addr"),
    d("proxy_set_header", "X-Forwarded-Proto", "$scheme"),
    d("proxy_set_header", "X-Forwarded-Host", "$host"),
    d("proxy_set_header", "X-Forwarded-Port", settings.publicHttpsPort),
    d("proxy_set_header", "Forwarded", ""),
    d("proxy_set_header", "X-Request-ID", requestId),
    comment("Set by the edge: once, and not twice."),
    ...[...ownHeaders(settings), REGION_HEADER].map((name) => d("proxy_hide_header", name)),
    d("proxy_connect_timeout", `${connectTimeoutSeconds}s`),
    d("proxy_send_timeout", `${sendTimeoutSeconds}s`),
    d("proxy_read_timeout", `${readTimeoutSeconds}s`),
    d("proxy_buffering", "on"),
    d("proxy_buffer_size", `${bufferKilobytes}k`),
    d("proxy_buffers", buffers, `${bufferKilobytes}k`),
    d("proxy_max_temp_file_size", "64m"),
    comment(
      "The next pod is tried when one cannot be reached or breaks off, and never again for a request that may have",
    ),
    comment("had an effect (POST, PATCH). An answer of the API, even 503, is an answer: it is passed on."),
    d("proxy_next_upstream", "error", "timeout"),
    d("proxy_next_upstream_tries", to.servers.length),
    d("proxy_next_upstream_timeout", `${connectTimeoutSeconds * to.servers.length}s`),
    d("proxy_intercept_errors", "off"),
    ...(to.tls ? proxyTls(to) : []),
  ];
}

/** Headers of responses that every edge sets itself. */
export function ownHeaders(settings: EdgeSettings): string[] {
  return [...Object.keys(settings.securityHeaders), "Strict-Transport-Security", "X-Request-ID"];
}

function proxyTls(to: EdgeUpstream): Node[] {
  return [
    ...internalTls(),
    comment("One name for all pods, so that a TLS session of one upstream connection can be resumed by the next."),
    d("proxy_ssl_name", literal(to.tlsName)),
  ];
}

/** TLS towards whoever has a certificate of the internal CA: an API pod, or another region's edge. */
export function internalTls(): Node[] {
  return [
    d("proxy_ssl_protocols", "TLSv1.2", "TLSv1.3"),
    d("proxy_ssl_verify", "on"),
    d("proxy_ssl_verify_depth", 2),
    d("proxy_ssl_trusted_certificate", `${PATHS.clientTls}/ca.crt`),
    d("proxy_ssl_server_name", "on"),
    d("proxy_ssl_session_reuse", "on"),
    d("proxy_ssl_certificate", `${PATHS.clientTls}/tls.crt`),
    d("proxy_ssl_certificate_key", `${PATHS.clientTls}/tls.key`),
  ];
}

import { PATHS, type EdgePorts } from "../../../components/edge/plan.ts";

/** Where the stand-ins for the API's three pods listen, all on one port. */
export const API_ADDRESSES = ["127.0.0.2", "127.0.0.3", "127.0.0.4"];

/** What an NGINX needs to run as the image's user; the same for all of them. */
function common(processes: number, ports: EdgePorts): { main: string; http: string } {
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(
    (kind) => `${kind}_temp_path ${PATHS.cache}/${kind};`,
  );
  return {
    main: `worker_processes ${processes}; worker_rlimit_nofile 8192; pid ${PATHS.run}/nginx.pid; error_log /dev/stderr crit;`,
    http: [...temporary, `server { listen ${ports.health}; access_log off; return 200 "healthy\\n"; }`].join("\n"),
  };
}

/** The API: 1 KiB of JSON, with connections that stay open for who wants them. */
export function apiStandIn(ports: EdgePorts, tls: boolean): Record<string, string> {
  const { main, http } = common(1, ports);
  const body = JSON.stringify({ users: "x".repeat(1010) });
  const certificate = `ssl_certificate ${PATHS.tls}/tls.crt; ssl_certificate_key ${PATHS.tls}/tls.key;`;
  return {
    "nginx.conf": `${main}
events { worker_connections 4096; }
http {
  ${http}
  access_log off; keepalive_requests 1000000; keepalive_timeout 600s; default_type application/json;
  ${tls ? `${certificate} ssl_session_cache shared:api:10m;` : ""}
  server {
    ${API_ADDRESSES.map((address) => `listen ${address}:${ports.https}${tls ? " ssl" : ""};`).join(" ")}
    return 200 '${body}';
  }
}`,
  };
}

/** What the configuration of §5.1.1, as written, does for a request under /api/; in this project's own words. Its rate
 *  limit is left out. With TLS to the API, which it does not have, the least that makes it so is added. */
export function asWritten(
  ports: EdgePorts,
  to: { readonly servers: readonly string[]; readonly port: number; readonly tls: boolean },
  processes: number,
): Record<string, string> {
  const { main, http } = common(processes, ports);
  return {
    "nginx.conf": `${main}
events { worker_connections 1024; multi_accept on; }
http {
  ${http}
  log_format main '$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent" '
    '"$http_x_forwarded_for" rt=$request_time uct="$upstream_connect_time" uht="$upstream_header_time" urt="$upstream_response_time"';
  access_log /dev/stdout main;
  sendfile on; tcp_nopush on; tcp_nodelay on; keepalive_timeout 65; client_max_body_size 10M;
  gzip on; gzip_vary on; gzip_proxied any; gzip_min_length 1024; gzip_comp_level 6; gzip_types application/json;
  upstream api {
    least_conn;
    ${to.servers.map((server) => `server ${server}:${to.port} max_fails=3 fail_timeout=30s;`).join(" ")}
    keepalive 32;
  }
  server {
    listen ${ports.https} ssl; http2 on;
    ssl_certificate ${PATHS.tls}/tls.crt; ssl_certificate_key ${PATHS.tls}/tls.key;
    ssl_protocols TLSv1.2 TLSv1.3; ssl_session_cache shared:SSL:10m; ssl_session_timeout 10m;
    location /api/ {
      proxy_pass ${to.tls ? "https" : "http"}://api;
      proxy_set_header Host $host; proxy_set_header X-Real-IP $remote_addr;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header X-Forwarded-Proto $scheme;
      proxy_connect_timeout 5s; proxy_send_timeout 60s; proxy_read_timeout 60s;
      proxy_buffering on; proxy_buffer_size 4k; proxy_buffers 8 4k;
    }
  }
}`,
  };
}

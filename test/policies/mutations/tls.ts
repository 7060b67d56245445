import type { Mutation } from "../mutation.ts";

/** Changes a file of a ConfigMap in one place. */
const file =
  (map: string, name: string, from: string | RegExp, to: string): Mutation["change"] =>
  (stack) =>
    stack.file(map, name, (text) => text.replace(from, to));
const patroni = (from: string | RegExp, to: string) => file("postgresql-patroni", "10-patroni.yml", from, to);
const ini = (from: string | RegExp, to: string) => file("pgbouncer-config", "pgbouncer.ini", from, to);
const hba = (from: string | RegExp, to: string) => file("pgbouncer-config", "hba.conf", from, to);
const haproxy = (from: string | RegExp, to: string) => file("pgbouncer-haproxy", "haproxy.cfg", from, to);
const redis = (from: string | RegExp, to: string) => file("redis-config", "redis.conf", from, to);
const nginx = (name: string, from: string | RegExp, to: string) => file("edge", name, from, to);

const of = (rule: string, list: readonly (readonly [string, RegExp, Mutation["change"]])[]): Mutation[] =>
  list.map(([breaks, says, change]) => ({ rule, breaks, says, change }));

export const tlsMutations: readonly Mutation[] = [
  ...of("database-tls", [
    ["TLS off", /\.ssl: found (false|"off"); it must be on/, patroni("ssl: on", "ssl: off")],
    ["TLS 1.1", /ssl_min_protocol_version: found "TLSv1\.1"; it must be TLSv1\.2 or/, patroni("TLSv1.3", "TLSv1.1")],
    ["TLS version not said", /ssl_min_protocol_version: found nothing/, patroni(/.*ssl_min_protocol_version.*\n/, "")],
    [
      "rules in another file",
      /hba_file: found "\/tmp\/hba"/,
      patroni("    ssl: on\n", "    ssl: on\n    hba_file: /tmp/hba\n"),
    ],
    [
      "a line without TLS",
      /pg_hba\[9\]: found host iam iam_app ::\/0 scram-sha-256; network lines must be hostssl/,
      patroni("hostssl iam iam_app ::/0", "host iam iam_app ::/0"),
    ],
    [
      "a line without proof",
      /pg_hba\[9\]: found hostssl iam iam_app ::\/0 trust; network lines take scram/,
      patroni("hostssl iam iam_app ::/0 scram-sha-256", "hostssl iam iam_app ::/0 trust"),
    ],
    [
      "a password that can be guessed",
      /pg_hba\[9\]: found .* md5; network lines take scram/,
      patroni("hostssl iam iam_app ::/0 scram-sha-256", "hostssl iam iam_app ::/0 md5"),
    ],
    [
      "a local line without proof",
      /pg_hba\[0\]: found local all postgres trust; local lines take/,
      patroni("local all postgres peer", "local all postgres trust"),
    ],
    ["Patroni without a certificate", /restapi\.certfile: found nothing/, patroni(/ {2}certfile: .*\n/, "")],
    ["Patroni without a key", /restapi\.keyfile: found nothing/, patroni(/ {2}keyfile: .*\n/, "")],
    ["members without a CA", /ctl\.cacert: found nothing/, patroni("  cacert:", "  authority:")],
    [
      "members that are not verified",
      /ctl\.insecure: found true; members must be verified/,
      patroni("ctl:\n", "ctl:\n  insecure: true\n"),
    ],
    [
      "clients of the pooler without TLS",
      /client_tls_sslmode: found allow; it must be require/,
      ini("client_tls_sslmode = require", "client_tls_sslmode = allow"),
    ],
    [
      "a server that is not verified",
      /server_tls_sslmode: found require; it must be verify-full/,
      ini("server_tls_sslmode = verify-full", "server_tls_sslmode = require"),
    ],
    [
      "clients with any TLS",
      /client_tls_protocols: found all; it must be secure/,
      ini("client_tls_protocols = secure", "client_tls_protocols = all"),
    ],
    [
      "servers with any TLS",
      /server_tls_protocols: found legacy; it must be secure/,
      ini("server_tls_protocols = secure", "server_tls_protocols = legacy"),
    ],
    ["anybody at the pooler", /auth_type: found any; it must be hba/, ini("auth_type = hba", "auth_type = any")],
    [
      "a line of the pooler without TLS",
      /hba\.conf"\]: found host pgbouncer .*; network lines must be hostssl/,
      hba("hostssl pgbouncer", "host pgbouncer"),
    ],
    [
      "a line of the pooler without proof",
      /hba\.conf"\]: found .* trust; network lines take/,
      hba(/scram-sha-256\n$/, "trust\n"),
    ],
    [
      "old TLS at HAProxy",
      /ssl-min-ver TLSv1\.0; it must be TLSv1\.2/,
      haproxy("ssl-min-ver TLSv1.2", "ssl-min-ver TLSv1.0"),
    ],
    [
      "a check without TLS",
      /backend primary server postgresql-beijing-0: found a check without TLS/,
      haproxy(" check-ssl ", " "),
    ],
    [
      "a check that verifies nothing",
      /backend primary server postgresql-beijing-0: found verify none/,
      haproxy("verify required", "verify none"),
    ],
    [
      "a check without a CA",
      /server postgresql-beijing-0: found no ca-file/,
      haproxy(" ca-file /etc/pgbouncer-tls/ca.crt", ""),
    ],
    ["a check of any host", /server postgresql-beijing-0: found no verifyhost/, haproxy(/ verifyhost \S+/, "")],
    ["no check", /server postgresql-beijing-0: found no check/, haproxy(/ check verifyhost/, " verifyhost")],
    [
      "a plain door to the network",
      /frontend write bind: found :5432; only the pod's own loopback/,
      haproxy("bind 127.0.0.2:5432", "bind :5432"),
    ],
  ]),
  ...of("cache-tls", [
    ["the plain port", /redis\.conf"\] port: found 6380; it must be 0/, redis(/^port 0$/m, "port 6380")],
    ["the plain port by default", /redis\.conf"\] port: found nothing; it must be 0/, redis(/^port 0\n/m, "")],
    ["no port with TLS", /tls-port: found 0; it must be a port/, redis("tls-port 6379", "tls-port 0")],
    [
      "replicas without TLS",
      /tls-replication: found no; it must be yes/,
      redis("tls-replication yes", "tls-replication no"),
    ],
    ["the bus without TLS", /tls-cluster: found no; it must be yes/, redis("tls-cluster yes", "tls-cluster no")],
    [
      "old TLS",
      /tls-protocols: found TLSv1\.1 TLSv1\.2; it must be TLSv1\.2 and TLSv1\.3/,
      redis("TLSv1.2 TLSv1.3", "TLSv1.1 TLSv1.2"),
    ],
    ["no certificate", /tls-cert-file: found nothing/, redis(/tls-cert-file .*\n/, "")],
    ["no key", /tls-key-file: found nothing/, redis(/tls-key-file .*\n/, "")],
    ["no CA", /tls-ca-cert-file: found nothing/, redis(/tls-ca-cert-file .*\n/, "")],
    [
      "a keeper without a CA",
      /keeper\.json"\] tls\.caFile: found nothing beside redis-beijing-0/,
      (stack) =>
        stack.json("redis-keeper", "keeper.json", (value: { tls: { caFile?: string } }) => delete value.tls.caFile),
    ],
    [
      "a controller without a CA",
      /region\.json"\] tls\.caFile: found "" beside redis\.iam/,
      (stack) =>
        stack.json(
          "region-controller",
          "region.json",
          (value: { tls: { caFile?: string } }) => (value.tls.caFile = ""),
        ),
    ],
    [
      "an address without TLS in a file",
      /data\["sidecar\.json"\]: found redis:\/\//,
      (stack) =>
        stack.json("edge-sidecar", "sidecar.json", (value: { cache?: string }) => (value.cache = "redis://redis:6379")),
    ],
    [
      "an address without TLS in a variable",
      /env CACHE: found redis:\/\/; it must be rediss:\/\//,
      env((list) => list.push({ name: "CACHE", value: "redis://redis:6379" })),
    ],
    [
      "an API without a CA",
      /env CA_FILE: found nothing beside a host of Redis/,
      env((list) =>
        list.splice(
          list.findIndex(({ name }) => name === "CA_FILE"),
          1,
        ),
      ),
    ],
    [
      "a tool without TLS",
      /lib\.sh"\]: found redis-cli without --tls/,
      file("redis-scripts", "lib.sh", "--tls --cert", "--cert"),
    ],
  ]),
  ...of("edge-tls", [
    [
      "old TLS",
      /http ssl_protocols: found TLSv1\.1 TLSv1\.2; allowed are/,
      nginx("nginx.conf", "ssl_protocols TLSv1.2 TLSv1.3", "ssl_protocols TLSv1.1 TLSv1.2"),
    ],
    ["no word on TLS", /server 8443: found no ssl_protocols/, nginx("nginx.conf", /ssl_protocols .*\n/, "")],
    [
      "old TLS of one server",
      /server 8444 ssl_protocols: found TLSv1; allowed are/,
      nginx("servers.conf", "ssl_verify_client on;", "ssl_verify_client on;\n    ssl_protocols TLSv1;"),
    ],
    [
      "old TLS to the API",
      /location \/api\/ proxy_ssl_protocols: found TLSv1; allowed are/,
      nginx("proxy.conf", "proxy_ssl_protocols TLSv1.2 TLSv1.3", "proxy_ssl_protocols TLSv1"),
    ],
    [
      "no word on TLS to the API",
      /location \/api\/ proxy_ssl_protocols: found nothing/,
      nginx("proxy.conf", /proxy_ssl_protocols .*\n/, ""),
    ],
    [
      "peers without a certificate",
      /server 8444 ssl_verify_client: found optional; it must be on/,
      nginx("servers.conf", "ssl_verify_client on", "ssl_verify_client optional"),
    ],
    [
      "peers with a certificate of anybody",
      /server 8444 ssl_client_certificate: found nothing/,
      nginx("servers.conf", /ssl_client_certificate .*\n/, ""),
    ],
    [
      "peers without TLS",
      /server 8444 listen: found no ssl; it is needed/,
      nginx("servers.conf", "listen 8444 ssl", "listen 8444"),
    ],
    [
      "no door for peers",
      /cannot be judged.*no server on port 8444/,
      nginx("servers.conf", "listen 8444 ssl", "listen 8445 ssl"),
    ],
    [
      "plain HTTP passed on",
      /server 8443 location \/api\/ proxy_pass: found one where requests come without TLS/,
      nginx("servers.conf", "listen 8443 ssl;", "listen 8443;"),
    ],
    [
      "the API without TLS",
      /location \/api\/ proxy_pass: found http:\/\/iam_api; it must be https/,
      nginx("proxy.conf", "https://iam_api", "http://iam_api"),
    ],
    [
      "an API that is not verified",
      /location \/api\/ proxy_ssl_verify: found off; it must be on/,
      nginx("proxy.conf", "proxy_ssl_verify on", "proxy_ssl_verify off"),
    ],
    [
      "an API of any CA",
      /location \/api\/ proxy_ssl_trusted_certificate: found nothing/,
      nginx("proxy.conf", /proxy_ssl_trusted_certificate .*\n/, ""),
    ],
    [
      "an API of any name",
      /location \/api\/ proxy_ssl_name: found nothing/,
      nginx("proxy.conf", /proxy_ssl_name .*\n/, ""),
    ],
    [
      "no certificate for the API",
      /location \/api\/ proxy_ssl_certificate: found nothing/,
      nginx("proxy.conf", /proxy_ssl_certificate .*\n/, ""),
    ],
    [
      "another edge that is not verified",
      /\/\.peer\/api proxy_ssl_verify: found off/,
      nginx("peer.conf", "proxy_ssl_verify on", "proxy_ssl_verify off"),
    ],
  ]),
];

/** Changes the variables of the API. */
function env(change: (list: { name: string; value?: string }[]) => void): Mutation["change"] {
  return (stack) => {
    const spec = stack.object("StatefulSet", "iam-api")["spec"] as {
      template: { spec: { containers: { env: { name: string; value?: string }[] }[] } };
    };
    change(spec.template.spec.containers[0]!.env);
  };
}

import { COMPONENTS } from "../../../components/common/names.ts";
import { inherited, listensOf, nginxFile, portsOf, scopesOf, type Scope } from "../../facts/nginx.ts";
import { containersOf } from "../../facts/pods.ts";
import { CannotJudge, componentOf, type Stack } from "../../facts/stack.ts";
import { workloadsOf } from "../../facts/workloads.ts";
import { stackRule } from "../../rule.ts";

type Say = (message: string) => void;

const PEER = "peer";
const FILE = "nginx.conf";

export const edgeTls = stackRule({
  name: "edge-tls",
  description:
    "The edge takes TLS 1.2 and 1.3 alone, passes nothing on that came without TLS, knows whom it passes on to, and asks other edges for their certificate.",
  severity: "critical",
  why: "Older protocols can be broken by who listens. What comes in by the door for other edges is believed as to who the client is, so only an edge may come in there.",
  remediation:
    "nginx.conf: ssl_protocols TLSv1.2 TLSv1.3; the peers' server: ssl_verify_client on with ssl_client_certificate; each proxy_pass to https:// with proxy_ssl_verify on, proxy_ssl_trusted_certificate, proxy_ssl_name and a certificate of its own.",
  check({ stack, report }) {
    const { resource } = stack.file(COMPONENTS.edge, FILE);
    const files = resource.props["data"] as Record<string, string>;
    const say: Say = (message) => report(`${FILE} ${message}`, resource);
    const scopes = [...scopesOf(nginxFile(files, FILE))];
    const http = scopes.find(({ directive }) => directive.name === "http");
    const servers = scopes.filter(({ directive, around }) => directive.name === "server" && around === http);
    if (!http || servers.length === 0) throw new CannotJudge(`${FILE} has no server`);
    for (const scope of scopes) {
      checkProtocols(scope, say);
      if (scope.directive.block.some(({ name }) => name === "proxy_pass")) checkProxy(scope, say);
    }
    for (const server of servers.filter(hasTls))
      if (inherited(server, "ssl_protocols") === undefined)
        say(`${server.title}: found no ssl_protocols; TLSv1.2 TLSv1.3 must be said`);
    checkPeers(servers, peerPort(stack), say);
  },
});

/** The port of the edge's pods for other edges. */
function peerPort(stack: Stack): number {
  const port = workloadsOf(stack)
    .filter(({ resource }) => componentOf(resource) === COMPONENTS.edge)
    .flatMap((pod) => containersOf(pod))
    .flatMap(({ container }) => container.ports ?? [])
    .find(({ name }) => name === PEER)?.containerPort;
  if (port === undefined) throw new CannotJudge(`no container of the edge has a port named ${PEER}`);
  return port;
}

function hasTls({ directive }: Scope): boolean {
  return listensOf(directive).every((args) => args.includes("ssl"));
}

function checkProtocols({ directive, title }: Scope, say: Say): void {
  for (const { name, args } of directive.block) {
    if (name !== "ssl_protocols" && name !== "proxy_ssl_protocols") continue;
    if (!args.every((one) => /^TLSv1\.[23]$/.test(one)))
      say(`${title} ${name}: found ${args.join(" ")}; allowed are TLSv1.2 and TLSv1.3`);
  }
}

function checkProxy(scope: Scope, say: Say): void {
  const { title } = scope;
  const target = inherited(scope, "proxy_pass")![0] ?? "";
  if (!target.startsWith("https://")) say(`${title} proxy_pass: found ${target}; it must be https://`);
  let server: Scope | undefined = scope;
  while (server && server.directive.name !== "server") server = server.around;
  if (server && !hasTls(server)) say(`${title} proxy_pass: found one where requests come without TLS; none is allowed`);
  const verify = inherited(scope, "proxy_ssl_verify")?.[0];
  if (verify !== "on") say(`${title} proxy_ssl_verify: found ${verify ?? "nothing"}; it must be on`);
  for (const name of [
    "proxy_ssl_trusted_certificate",
    "proxy_ssl_name",
    "proxy_ssl_certificate",
    "proxy_ssl_protocols",
  ])
    if (inherited(scope, name) === undefined) say(`${title} ${name}: found nothing; it is needed`);
}

function checkPeers(servers: readonly Scope[], port: number, say: Say): void {
  const peers = servers.filter(({ directive }) => portsOf(directive).includes(port));
  if (peers.length === 0) throw new CannotJudge(`${FILE} has no server on port ${port}, which is that of other edges`);
  for (const peer of peers) {
    if (!hasTls(peer)) say(`${peer.title} listen: found no ssl; it is needed`);
    const verify = inherited(peer, "ssl_verify_client")?.[0];
    if (verify !== "on") say(`${peer.title} ssl_verify_client: found ${verify ?? "nothing"}; it must be on`);
    if (inherited(peer, "ssl_client_certificate") === undefined)
      say(`${peer.title} ssl_client_certificate: found nothing; the CA of the edges is needed`);
  }
}

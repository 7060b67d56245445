import { COMPONENTS } from "../../../components/common/names.ts";
import { containersOf, podOf } from "../../facts/pods.ts";
import { CONF_PATH, redisConfIn, type RedisConf } from "../../facts/redis.ts";
import { componentOf, isObject, type Resource } from "../../facts/stack.ts";
import { textsIn } from "../../facts/strings.ts";
import { resourceRule } from "../../rule.ts";

type Say = (message: string) => void;

/** A host of Redis, as its Services and endpoints are called. */
const HOST = /^(rediss?:\/\/.*)?redis(-[a-z0-9-]+)?(\.|$)|\.redis-nodes\./;

export const cacheTls = resourceRule({
  name: "cache-tls",
  description:
    "Redis listens with TLS 1.2 or newer alone, for clients, replicas and the cluster bus, and whoever is told of Redis is told by which CA to know it.",
  severity: "critical",
  why: "Sessions are in Redis: who listens to one connection, or is taken for a node, signs in as anybody.",
  remediation:
    "redis.conf: port 0, tls-port, tls-replication yes, tls-cluster yes, tls-protocols TLSv1.2 and TLSv1.3, certificate, key and CA. Clients: tls.caFile or CA_FILE, rediss:// instead of redis://, redis-cli --tls.",
  check({ resource, report }) {
    const conf = redisConfIn(resource);
    if (conf) checkServer(conf, report);
    if (isObject(resource, "ConfigMap")) checkFiles(resource, report);
    // Nodes of Redis have their own host in a variable, and their CA in redis.conf.
    if (componentOf(resource) !== COMPONENTS.redis) checkVariables(resource, report);
  },
});

function checkServer(conf: RedisConf, say: Say): void {
  const hold = (name: string, fine: (value: string) => boolean, allowed: string) => {
    const found = conf[name];
    if (found === undefined || !fine(found))
      say(`${CONF_PATH} ${name}: found ${found ?? "nothing"}; it must be ${allowed}`);
  };
  const path = (value: string) => value.startsWith("/");
  hold("port", (value) => value === "0", "0");
  hold("tls-port", (value) => Number(value) > 0, "a port");
  hold("tls-replication", (value) => value === "yes", "yes");
  hold("tls-cluster", (value) => value === "yes", "yes");
  const modern = (value: string) => value.split(/\s+/).every((one) => /^TLSv1\.[23]$/.test(one));
  hold("tls-protocols", modern, "TLSv1.2 and TLSv1.3 at most");
  for (const name of ["tls-cert-file", "tls-key-file", "tls-ca-cert-file"]) hold(name, path, "the path of a file");
}

function checkFiles(resource: Resource, say: Say): void {
  for (const [file, text] of Object.entries((resource.props["data"] ?? {}) as Record<string, string>)) {
    const where = `data[${JSON.stringify(file)}]`;
    if (file.endsWith(".json")) checkClient(JSON.parse(text), where, say);
    if (/\bredis:\/\//.test(text)) say(`${where}: found redis://; it must be rediss://`);
    if (componentOf(resource) !== COMPONENTS.redis) continue;
    const lines = text.replace(/\\\n/g, " ").split("\n");
    for (const line of lines.filter((one) => !/^\s*#/.test(one)))
      if (/\bredis-cli\s+-/.test(line) && !/\s--tls(\s|$)/.test(line)) say(`${where}: found redis-cli without --tls`);
  }
}

/** A client's configuration that names a host of Redis says by which CA to know it. */
function checkClient(config: unknown, where: string, say: Say): void {
  const host = [...textsIn(config)].find(({ key, value }) => key === "host" && HOST.test(value));
  if (!host) return;
  const ca = (config as { tls?: { caFile?: unknown } }).tls?.caFile;
  if (typeof ca !== "string" || !ca.startsWith("/"))
    say(
      `${where} tls.caFile: found ${JSON.stringify(ca) ?? "nothing"} beside ${host.value}; the path of a file is needed`,
    );
}

function checkVariables(resource: Resource, say: Say): void {
  const pod = podOf(resource);
  for (const { path, container } of pod ? containersOf(pod) : []) {
    const env = (container.env ?? []).map(({ name, value }) => ({ name, value: value ?? "" }));
    for (const { name, value } of env)
      if (/\bredis:\/\//.test(value)) say(`${path}.env ${name}: found redis://; it must be rediss://`);
    if (!env.some(({ name, value }) => /_HOST$/.test(name) && HOST.test(value))) continue;
    const ca = env.find(({ name }) => name === "CA_FILE")?.value;
    if (!ca?.startsWith("/"))
      say(`${path}.env CA_FILE: found ${ca ?? "nothing"} beside a host of Redis; the path of a file is needed`);
  }
}

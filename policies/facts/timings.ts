import { COMPONENTS } from "../../components/common/names.ts";
import type { Given } from "../arithmetic/bound.ts";
import type { Timings } from "../arithmetic/timings.ts";
import { controllerTimings, REGION_FILE, dnsTimings, witnessTimings } from "./controller.ts";
import { durationSeconds, jsonOf } from "./values.ts";
import { podsOf } from "./probes.ts";
import { CannotJudge, componentOf, objectName, titleOf, type Stack } from "./stack.ts";
import { numberOf, poolerOf } from "./pooler.ts";

/** Every timing of a stack that recovery rests on.
 *  @throws CannotJudge when one cannot be read, and for a part whose timings are not known here */
export function timingsOf(stack: Stack): Timings {
  refuseUnknownParts(stack);
  return {
    edge: edgeTimings(stack),
    api: podsOf(stack, COMPONENTS.api, "api"),
    pooler: poolerTimings(stack),
    patroni: patroniTimings(stack),
    redis: redisTimings(stack),
    controller: controllerTimings(stack),
    dns: dnsTimings(stack),
    witness: witnessTimings(stack),
  };
}

/** Parts that change what recovery takes, and that have no terms here: a bound without them would not be one. */
function refuseUnknownParts(stack: Stack): void {
  const refuse = (part: string) => {
    throw new CannotJudge(`${part} has no terms in the arithmetic of recovery yet, which must have them`);
  };
  for (const resource of stack.objects()) if (/backup/.test(componentOf(resource) ?? "")) refuse(titleOf(resource));
  const { resource, text } = stack.file(COMPONENTS.regionController, REGION_FILE);
  for (const key of Object.keys(jsonOf(text, `${titleOf(resource)} ${REGION_FILE}`) as object))
    if (/plan|takeover|failover/i.test(key)) refuse(`${titleOf(resource)} ${REGION_FILE} ${key}`);
}

function edgeTimings(stack: Stack): Timings["edge"] {
  const proxy = directives(stack, "proxy.conf");
  const upstream = directives(stack, "upstream.conf");
  const { resource, text } = stack.file(COMPONENTS.edge, "sidecar.json");
  const sidecar = jsonOf(text, `${titleOf(resource)} sidecar.json`) as Readonly<Record<string, unknown>>;
  const millis = (key: string): Given => {
    const source = `${titleOf(resource)} sidecar.json ${key}`;
    const value = sidecar[key];
    if (typeof value !== "number")
      throw new CannotJudge(`${source}: found ${JSON.stringify(value)}; a number is needed`);
    return { value: value / 1000, source };
  };
  const service = stack
    .objects("Service")
    .find((one) => componentOf(one) === COMPONENTS.edge && objectName(one) === COMPONENTS.edge);
  if (!service) throw new CannotJudge("there is no Service of the edge");
  const { type, externalTrafficPolicy } = service.props["spec"] as { type?: string; externalTrafficPolicy?: string };
  return {
    ...podsOf(stack, COMPONENTS.edge, "nginx"),
    balanced: type === "LoadBalancer" && externalTrafficPolicy === "Local",
    proxyConnect: proxy("proxy_connect_timeout", 60),
    proxyRead: proxy("proxy_read_timeout", 60),
    upstreamIdle: upstream("keepalive_timeout", 60),
    poll: millis("pollMillis"),
    call: millis("callTimeoutMillis"),
    resolve: millis("resolveMillis"),
  };
}

/** Times in a file of NGINX; the first word of a directive counts.
 *  @returns reads one, or NGINX' default in seconds */
function directives(stack: Stack, file: string): (name: string, fallback: number) => Given {
  const { resource, text } = stack.file(COMPONENTS.edge, file);
  return (name, fallback) => {
    const source = `${titleOf(resource)} ${file} ${name}`;
    const value = new RegExp(`^\\s*${name}\\s+([^\\s;]+)`, "m").exec(text)?.[1];
    if (value === undefined) return { value: fallback, source: `${source}, not set: NGINX' default` };
    return { value: durationSeconds(value, "s", source), source };
  };
}

function poolerTimings(stack: Stack): Timings["pooler"] {
  const { resource, text } = stack.file(COMPONENTS.pooler, "haproxy.cfg");
  const title = `${titleOf(resource)} haproxy.cfg`;
  const words = (/^\s*default-server\s+(.+)$/m.exec(text)?.[1] ?? "").split(/\s+/);
  const onServer = (key: string): string | undefined => words[words.indexOf(key) + 1 || words.length];
  const time = (key: string, fallback: Given): Given => {
    const value = onServer(key);
    const source = `${title} default-server ${key}`;
    return value === undefined ? fallback : { value: durationSeconds(value, "ms", source), source };
  };
  const count = (key: string, value: string | undefined, fallback: number): Given => {
    const source = `${title} ${key}`;
    if (value === undefined) return { value: fallback, source: `${source}, not set: HAProxy's default` };
    if (!/^[0-9]+$/.test(value)) throw new CannotJudge(`${source}: ${JSON.stringify(value)} is no number`);
    return { value: Number(value), source };
  };
  const inDefaults = (key: string, fallback: Given): Given => {
    const value = new RegExp(`^\\s*timeout ${key}\\s+(\\S+)`, "m").exec(text)?.[1];
    const source = `${title} timeout ${key}`;
    return value === undefined ? fallback : { value: durationSeconds(value, "ms", source), source };
  };
  const inter = time("inter", { value: 2, source: `${title} default-server inter, not set: HAProxy's default` });
  const { settings, resource: ini } = poolerOf(stack);
  const retry = `${titleOf(ini)} pgbouncer.ini server_login_retry`;
  return {
    ...podsOf(stack, COMPONENTS.pooler, "pgbouncer"),
    inter,
    fastInter: time("fastinter", inter),
    downInter: time("downinter", inter),
    fall: count("default-server fall", onServer("fall"), 3),
    rise: count("default-server rise", onServer("rise"), 2),
    // Without a time of its own a check has the pause's.
    check: inDefaults("check", inter),
    connect: inDefaults("connect", { value: Infinity, source: `${title} timeout connect, not set: none` }),
    retries: count("retries", /^\s*retries\s+(\S+)/m.exec(text)?.[1], 3),
    loginRetry:
      settings["server_login_retry"] === undefined
        ? { value: 15, source: `${retry}, not set: PgBouncer's default` }
        : { value: numberOf(settings, "server_login_retry", titleOf(ini)), source: retry },
  };
}

type Dynamic = Readonly<Record<string, unknown>> & {
  readonly postgresql?: { readonly parameters?: Readonly<Record<string, string | number>> };
};

function patroniTimings(stack: Stack): Timings["patroni"] {
  const file = "20-dynamic.yml";
  const { resource, text } = stack.file(COMPONENTS.postgres, file);
  const title = `${titleOf(resource)} ${file}`;
  const dynamic = dcsOf(text, title);
  const seconds = (key: string, fallback: number): Given => {
    const source = `${title} ${key}`;
    const value = dynamic[key];
    if (value === undefined) return { value: fallback, source: `${source}, not set: Patroni's default` };
    if (typeof value !== "number")
      throw new CannotJudge(`${source}: found ${JSON.stringify(value)}; a number is needed`);
    return { value, source };
  };
  const parameters = dynamic.postgresql?.parameters ?? {};
  const setting = (key: string, fallback: string, own: "ms" | "s", endless: (value: number) => boolean): Given => {
    const set = parameters[key];
    const source = `${title} ${key}${set === undefined ? ", not set: PostgreSQL's default" : ""}`;
    const value = durationSeconds(set ?? fallback, own, source);
    return { value: endless(value) ? Infinity : value, source };
  };
  const archived = ["on", "always"].includes(String(parameters["archive_mode"] ?? "off"));
  const commit = String(parameters["synchronous_commit"] ?? "on");
  const mode = dynamic["synchronous_mode"];
  const synchronous = (mode === "quorum" || mode === true) && ["on", "remote_apply", "true"].includes(commit);
  return {
    ttl: seconds("ttl", 30),
    loopWait: seconds("loop_wait", 10),
    primaryStart: seconds("primary_start_timeout", 300),
    standbyDelay: setting("max_standby_streaming_delay", "30s", "ms", (value) => value < 0),
    receiverTimeout: setting("wal_receiver_timeout", "60s", "ms", (value) => value <= 0),
    retrieveRetry: setting("wal_retrieve_retry_interval", "5s", "ms", () => false),
    synchronous: synchronous ? `${title} synchronous_mode ${String(mode)}, synchronous_commit ${commit}` : undefined,
    strict: dynamic["synchronous_mode_strict"] === true,
    archive: archived ? setting("archive_timeout", "0", "s", (value) => value <= 0) : undefined,
  };
}

function dcsOf(text: string, title: string): Dynamic {
  const { bootstrap } = jsonOf(text, title) as { bootstrap?: { dcs?: Dynamic } };
  if (bootstrap?.dcs) return bootstrap.dcs;
  throw new CannotJudge(`${title}: has no bootstrap.dcs`);
}

function redisTimings(stack: Stack): Timings["redis"] {
  const { resource, text } = stack.file(COMPONENTS.redis, "redis.conf");
  const source = `${titleOf(resource)} redis.conf cluster-node-timeout`;
  const value = /^\s*cluster-node-timeout\s+(\S+)/m.exec(text)?.[1];
  if (value === undefined) return { nodeTimeout: { value: 15, source: `${source}, not set: Redis' default` } };
  return { nodeTimeout: { value: durationSeconds(value, "ms", source), source } };
}

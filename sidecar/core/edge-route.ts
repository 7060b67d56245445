import { isIP } from "node:net";
import { z } from "zod";

/** Where an edge sends requests of the API. */
export type EdgeRoute =
  | { readonly to: "local" }
  /** The edge of another region, by the name under which it is found and for which its certificate must be good. */
  | { readonly to: "remote"; readonly region: string; readonly host: string };

/** What an edge knows of who is active. */
export interface KnownRoute {
  /** Epoch under which the route was learnt; undefined before the first time. */
  readonly epoch: number | undefined;
  readonly route: EdgeRoute;
}

/** Before anything is known an edge serves by itself: alone in a region that comes up first, that is right. */
export const UNKNOWN_ROUTE: KnownRoute = { epoch: undefined, route: { to: "local" } };

/** A name that may stand in NGINX's configuration. */
const HOST = /^(?=.{1,253}$)[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*$/;
const REGION = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;

/** The part of `GET /active` (`ActiveAnswer`) that the edge needs. Fields of later versions are let through. */
export const activeAnswer = z.object({
  region: z.string().regex(REGION),
  active: z
    .object({ region: z.string().regex(REGION), epoch: z.int().min(0) })
    .nullish()
    .transform((active) => active ?? undefined),
  edge: z
    .object({ host: z.string().regex(HOST) })
    .nullish()
    .transform((edge) => edge ?? undefined),
});
export type SeenAnswer = z.output<typeof activeAnswer>;

export interface Decision {
  readonly known: KnownRoute;
  /** Why, in words. */
  readonly cause: string;
}

/** Which way requests go from now on. Whatever says nothing new leaves everything as it was: an edge that hears nothing
 *  goes on as before, and of two controllers one of which lags behind the newer epoch counts.
 *  @param seen answer of the region controller; undefined when there was none */
export function decideRoute(region: string, known: KnownRoute, seen: SeenAnswer | undefined): Decision {
  const stay = (cause: string): Decision => ({ known, cause });
  if (seen === undefined) return stay("the region controller did not answer");
  if (seen.region !== region) return stay(`the answer is of ${seen.region}'s controller`);
  const { active, edge } = seen;
  if (active === undefined) return stay("nobody is known to be active");
  if (known.epoch !== undefined && active.epoch < known.epoch)
    return stay(`epoch ${active.epoch} is older than ${known.epoch}`);
  const route: EdgeRoute | undefined =
    active.region === region ? { to: "local" } : edge && { to: "remote", region: active.region, host: edge.host };
  if (route === undefined) return stay(`${active.region} is active, and its edge is not told`);
  if (active.epoch === known.epoch && regionOf(region, known.route) !== active.region)
    return stay(`epoch ${active.epoch} is of ${regionOf(region, known.route)}, and the answer names ${active.region}`);
  return { known: { epoch: active.epoch, route }, cause: `${active.region} is active under epoch ${active.epoch}` };
}

/** Region whose API serves. */
function regionOf(region: string, route: EdgeRoute): string {
  return route.to === "local" ? region : route.region;
}

/** What stands in the route's file. */
export interface RouteFile extends KnownRoute {
  /** Addresses of the remote edge, sorted; empty when its name never resolved, and for a local route. */
  readonly addresses: readonly string[];
}

/** Names in the route's file that the rest of NGINX's configuration refers to. */
export const PEER_UPSTREAM = "iam_peer";
/** Host of the edge to pass on to; empty where requests are served here. */
export const PEER_VARIABLE = "$edge_peer";

export interface PeerConnection {
  /** Port on which edges take requests of other edges. */
  readonly port: number;
  /** Idle connections that each worker keeps open. */
  readonly keepalive: number;
  /** After how many seconds an idle one is closed; less than the other edge's own time. */
  readonly keepaliveIdleSeconds: number;
}

const HEADER = "# route: ";

/** The file that sends requests where they belong; NGINX includes it at the level of `http`.
 *  @throws RangeError on a host or address that cannot stand in it */
export function printRoute(file: RouteFile, to: PeerConnection): string {
  const lines = [`${HEADER}${JSON.stringify(file)}`];
  if (file.route.to === "local") return `${lines.join("\n")}\n`;
  const { host } = file.route;
  if (!HOST.test(host)) throw new RangeError(`${JSON.stringify(host)} is no host name`);
  const servers = file.addresses.map((address) => {
    const family = isIP(address);
    if (family === 0 || address.includes("%")) throw new RangeError(`${JSON.stringify(address)} is no address`);
    // One that failed twice is left alone for a while; where there is one alone NGINX always tries it.
    return `server ${family === 6 ? `[${address}]` : address}:${to.port} max_fails=2 fail_timeout=5s;`;
  });
  return `${[
    ...lines,
    `upstream ${PEER_UPSTREAM} {`,
    `    zone ${PEER_UPSTREAM} 64k;`,
    // A name that does not resolve must not keep NGINX from reloading: then nobody is there, which it answers at once.
    ...(servers.length > 0 ? servers : [`server 127.0.0.1:${to.port} down;`]).map((line) => `    ${line}`),
    `    keepalive ${to.keepalive};`,
    `    keepalive_timeout ${to.keepaliveIdleSeconds}s;`,
    `}`,
    `map "" ${PEER_VARIABLE} {`,
    `    default ${host};`,
    `}`,
  ].join("\n")}\n`;
}

const stored = z.strictObject({
  epoch: z.int().min(0).optional(),
  route: z.discriminatedUnion("to", [
    z.strictObject({ to: z.literal("local") }),
    z.strictObject({ to: z.literal("remote"), region: z.string().regex(REGION), host: z.string().regex(HOST) }),
  ]),
  addresses: z.array(z.union([z.ipv4(), z.ipv6()])),
});

/** What a file of `printRoute` says, so that a restarted sidecar goes on where it was; undefined where it says nothing. */
export function parseRoute(text: string): RouteFile | undefined {
  const [first = ""] = text.split("\n");
  if (!first.startsWith(HEADER)) return undefined;
  try {
    const file = stored.parse(JSON.parse(first.slice(HEADER.length)));
    return { epoch: file.epoch, route: file.route, addresses: file.addresses };
  } catch {
    return undefined;
  }
}

/** Whether NGINX must read a new file. A newer epoch with the same way is no reason: a reload is not free. */
export function isSameWay(one: RouteFile, other: RouteFile): boolean {
  const way = ({ route, addresses }: RouteFile) =>
    JSON.stringify(route.to === "local" ? [] : [route.host, ...addresses]);
  return way(one) === way(other);
}

import { z } from "zod";
import { port } from "../common/schema.ts";
import { isTooWide, parseCidr } from "./cidr.ts";

const cidr = z
  .string()
  .refine((text) => parseCidr(text) !== undefined, 'must be a network such as "10.0.0.0/8" or "2001:db8::/32"');

/** A header's name; what NGINX and proxies on the way take without doubt. */
const headerName = z.string().regex(/^[A-Za-z][A-Za-z0-9-]{0,63}$/, "must be a header's name: letters, digits and '-'");

/** `$` would start a variable of NGINX, for which there is no escape; quotes and backslashes are not needed in any header
 *  worth setting. */
const headerValue = z
  .string()
  .regex(/^[\x20-\x7e]{1,1024}$/, "must be printable ASCII, 1 to 1024 characters")
  .regex(/^[^"\\$]*$/, "must not contain '\"', '\\' or '$'");

export const service = z
  .strictObject({
    type: z
      .enum(["LoadBalancer", "NodePort", "ClusterIP"])
      .default("LoadBalancer")
      .describe(
        "how the edge is reached from outside of the cluster; ClusterIP: only from within or through a proxy of one's own",
      ),
    annotations: z
      .record(z.string().min(1), z.string())
      .default({})
      .describe("annotations of the Service, such as those by which a cloud's load balancer is set up"),
    loadBalancerClass: z.string().min(1).optional().describe("class of the load balancer; default: the cluster's"),
    loadBalancerSourceRanges: z
      .array(cidr)
      .default([])
      .describe("networks that may reach the load balancer, other regions' edges included; empty: all"),
    externalTrafficPolicy: z
      .enum(["Local", "Cluster"])
      .default("Local")
      .describe(
        "Local keeps the client's address (only nodes that run an edge pod take traffic); Cluster hides it behind the node's",
      ),
    httpNodePort: port.optional().describe("fixed node port of HTTP; default: one that the cluster picks"),
    httpsNodePort: port.optional().describe("fixed node port of HTTPS; default: one that the cluster picks"),
    peerNodePort: port
      .optional()
      .describe("fixed node port for edges of other regions; default: one that the cluster picks"),
  })
  .superRefine((value, ctx) => {
    const only = (key: keyof typeof value, given: boolean, types: string[]) => {
      if (!given || types.includes(value.type)) return;
      ctx.addIssue({
        code: "custom",
        path: [key],
        message: `has a meaning only with type ${types.join(" or ")}`,
        input: value[key],
      });
    };
    only("httpNodePort", value.httpNodePort !== undefined, ["NodePort", "LoadBalancer"]);
    only("httpsNodePort", value.httpsNodePort !== undefined, ["NodePort", "LoadBalancer"]);
    only("peerNodePort", value.peerNodePort !== undefined, ["NodePort", "LoadBalancer"]);
    only("loadBalancerClass", value.loadBalancerClass !== undefined, ["LoadBalancer"]);
    only("loadBalancerSourceRanges", value.loadBalancerSourceRanges.length > 0, ["LoadBalancer"]);
  })
  .describe("the Service in front of the edge pods");

export const clientAddress = z
  .strictObject({
    mode: z
      .enum(["direct", "proxy-protocol", "x-forwarded-for"])
      .default("direct")
      .describe(
        "where a client's address comes from, by which limits count and which the API sees. direct: from the connection; " +
          "proxy-protocol: from the PROXY header with which the load balancer begins each connection (all listeners then demand it, the one for other regions' edges too); " +
          "x-forwarded-for: from that header, read from the right past the trusted proxies (they must speak HTTPS to the edge)",
      ),
    trusted: z
      .array(cidr)
      .default([])
      .describe(
        "networks of the load balancers whose word is believed; from all others the connection's own address counts",
      ),
  })
  .superRefine((value, ctx) => {
    const issue = (message: string) =>
      ctx.addIssue({ code: "custom", path: ["trusted"], message, input: value.trusted });
    if (value.mode === "direct" && value.trusted.length > 0)
      issue("must be empty, as mode direct trusts nobody's word");
    if (value.mode !== "direct" && value.trusted.length === 0)
      issue(`must name the load balancers' networks, as mode is ${value.mode}`);
    if (value.mode !== "direct" && value.trusted.some(isTooWide)) {
      issue("must not be wider than /8 (IPv6: /7): strangers could then name any address as the client's");
    }
  })
  .describe("how the client's address is found behind a load balancer");

export const tls = z
  .strictObject({
    protocols: z
      .array(z.enum(["TLSv1.2", "TLSv1.3"]))
      .min(1)
      .default(["TLSv1.2", "TLSv1.3"])
      .describe("TLS versions offered to clients (§5.1.1)"),
    sessionTimeoutSeconds: z
      .int()
      .min(60)
      .max(86_400)
      .default(600)
      .describe("how long a TLS session may be resumed (§5.1.1: 10 minutes)"),
    hstsSeconds: z
      .int()
      .min(0)
      .max(63_072_000)
      .default(31_536_000)
      .describe("max-age of Strict-Transport-Security (§5.1.1: one year); 0 makes browsers forget it"),
    hstsIncludeSubDomains: z
      .boolean()
      .default(true)
      .describe("whether that holds for all names under the host (§5.1.1)"),
  })
  .describe("TLS towards clients");

/** The seed's headers. X-XSS-Protection only means something to old browsers; it is kept as the design demands it. */
const DEFAULT_HEADERS = {
  "X-Frame-Options": "DENY",
  "X-Content-Type-Options": "nosniff",
  "X-XSS-Protection": "1; mode=block",
};

/** Headers that the generated configuration sets itself. */
const OWN_HEADERS = [
  "strict-transport-security",
  "content-type",
  "content-length",
  "cache-control",
  "retry-after",
  "x-request-id",
  "x-iam-region",
  "connection",
];

export const securityHeaders = z
  .record(headerName, headerValue)
  .default(DEFAULT_HEADERS)
  .superRefine((headers, ctx) => {
    const seen = new Set<string>();
    for (const name of Object.keys(headers)) {
      const lower = name.toLowerCase();
      const message = OWN_HEADERS.includes(lower)
        ? "is set by the edge itself"
        : seen.has(lower)
          ? "stands here twice; names of headers know no case"
          : undefined;
      if (message) ctx.addIssue({ code: "custom", path: [name], message, input: headers[name] });
      seen.add(lower);
    }
  })
  .describe(
    "headers of every response, errors included, besides Strict-Transport-Security; replaces the default set as a whole (§5.1.1)",
  );

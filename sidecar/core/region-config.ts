import { z } from "zod";
import { link } from "./link.ts";

const name = z.string().min(1);
const port = z.int().min(1).max(65535);
const millis = z.int().min(1);

/** Configuration file of the region controller: written by the RegionController component, read by sidecar/region. Hosts
 *  are names, so that certificates can be checked; secrets are files, read anew for each connection. */
export const regionConfig = z.strictObject({
  region: name.describe("name of this region"),
  role: z.enum(["active", "standby", "disaster"]).describe("what the region is for when the platform is made"),
  regions: z
    .record(
      name,
      z.strictObject({
        priority: z.int().min(1).describe("who takes over first: the lowest"),
        initiallyActive: z.boolean().describe("whether it is the active one when the platform is made"),
        controller: z.strictObject({ host: name, port }).describe("its region controller, HTTPS"),
        postgres: z.strictObject({ host: name, port }).describe("its leader, for streaming"),
        slot: name.describe("replication slot that the other regions keep for it"),
        witness: z.url().describe("its member of the witness, for clients"),
        edge: z.strictObject({ host: name, port }).describe("its edge, HTTPS"),
      }),
    )
    .describe("every region, this one included, by name"),
  links: z.array(link).describe("links between regions, §5.4.2"),
  tls: z.strictObject({ caFile: name, certFile: name, keyFile: name }).describe("certificate for every connection"),
  listen: z.strictObject({
    controller: z.int().min(0).max(65535).describe("port of the HTTPS API; 0 for any free one"),
    status: z.int().min(0).max(65535).describe("port of /healthz and /metrics, plain HTTP; 0 for any free one"),
  }),
  witness: z.strictObject({
    user: name,
    passwordFile: name,
    leaseTtlSeconds: z.int().min(2).describe("how long activity outlives its holder's last word"),
    callTimeoutMillis: millis,
  }),
  postgres: z.strictObject({
    host: name.describe("Service of this region's leader"),
    port,
    user: name.describe("monitoring role"),
    passwordFile: name,
    database: name.describe("the application's database, for digests"),
    patroni: z.array(z.url()).min(1).describe("REST API of every local member"),
    patroniUser: name,
    patroniPasswordFile: name,
    callTimeoutMillis: millis,
  }),
  redis: z.strictObject({
    host: name,
    port,
    user: name,
    passwordFile: name,
    callTimeoutMillis: millis,
    copy: z.array(name).describe("prefixes of keys whose values reach the other regions"),
    invalidate: z.array(name).describe("prefixes of keys that are dropped in the other regions when they change here"),
  }),
  dns: z.strictObject({
    name: name.describe("the platform's one name"),
    ttlSeconds: z.int().min(1),
  }),
  monitor: z.strictObject({
    intervalMillis: millis.describe("pause between two looks"),
    maxLagSeconds: z.number().min(0).describe("a link further behind is unhealthy, §5.4.2: 30"),
    maxErrors: z.int().min(0).describe("a link with more errors in the last hour is unhealthy, §5.4.2: 10"),
    sourceLostSeconds: z.number().min(0).describe("how long a source must be away before the next one is taken"),
    consistencyMillis: millis.describe("pause between two comparisons of content"),
  }),
  secrets: z
    .record(name, name)
    .describe("files of the secrets that regions share: only fingerprints of them ever leave the region"),
});
export type RegionConfig = z.infer<typeof regionConfig>;

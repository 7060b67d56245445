import { z } from "zod";

const path = z.string().min(1);
const millis = z.int().min(1);

/** Configuration file of the DNS sidecar: written by the GlobalDns component, read by sidecar/dns. */
export const dnsSidecarConfig = z.strictObject({
  region: z.string().min(1).describe("name of this region"),
  witness: z.array(z.url()).min(1).describe("members of the witness, this region's first"),
  user: z
    .string()
    .regex(/^[a-z]+$/)
    .describe("user of the witness"),
  passwordFile: path,
  tls: z
    .strictObject({ caFile: path, certFile: path, keyFile: path })
    .describe("what is shown to the witness, and by which it is known"),
  folder: path.describe("folder that CoreDNS reads `*.conf` from; in memory, as the password is in it"),
  pollMillis: millis.describe("pause between two looks"),
  callTimeoutMillis: millis.describe("time-out of one call"),
  coredns: z.strictObject({ health: z.url(), metrics: z.url() }).describe("where CoreDNS tells of itself"),
  statusPort: z.int().min(0).max(65535).describe("port of /healthz, plain HTTP; 0 for any free one"),
});
export type DnsSidecarConfig = z.infer<typeof dnsSidecarConfig>;

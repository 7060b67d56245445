import { z } from "zod";

const path = z.string().min(1);
const millis = z.int().min(1);

/** Configuration file of the edge sidecar: written by the Edge component, read by sidecar/edge. */
export const edgeSidecarConfig = z.strictObject({
  region: z.string().min(1).describe("name of this region"),
  controller: z.url().describe("base URL of this region's controller, HTTPS"),
  tls: z
    .strictObject({ caFile: path, certFile: path, keyFile: path })
    .describe("what is shown to the controller, and by which it is known; read anew for each connection"),
  pollMillis: millis.describe("pause between two questions"),
  callTimeoutMillis: millis.describe("time-out of one question, connecting included, and of resolving a name"),
  firstAnswerMillis: z.int().min(0).describe("how long after its start it waits for a first answer before it is ready"),
  resolveMillis: millis.describe("how often the other edge's name is resolved again"),
  addressMillis: z.int().min(0).describe("a change of its addresses is taken over at most once in so long"),
  routeFile: path.describe("file that NGINX includes; written whole, by rename"),
  peer: z
    .strictObject({
      port: z.int().min(1).max(65535).describe("port on which edges take requests of other edges"),
      keepalive: z.int().min(1).describe("idle connections that each worker keeps open"),
      keepaliveIdleSeconds: z.int().min(1).describe("after which an idle one is closed"),
    })
    .describe("connections to another region's edge"),
  statusPort: z
    .int()
    .min(0)
    .max(65535)
    .describe("port of /healthz, /readyz and /status, plain HTTP; 0 for any free one"),
});
export type EdgeSidecarConfig = z.infer<typeof edgeSidecarConfig>;

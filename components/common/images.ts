import { z } from "zod";

/** The images of the project; each has a Containerfile in `images/<name>/`. */
export const IMAGE_NAMES = ["postgres", "redis", "edge", "pgbouncer", "node", "witness"] as const;
export type ImageName = (typeof IMAGE_NAMES)[number];

const reference = z
  .string()
  .regex(/^[^\s:@]+(:[0-9]+)?(\/[^\s:@]+)*(:[\w][\w.-]{0,127})?(@sha256:[0-9a-f]{64})?$/, "must be an image reference");

export const imageSettings = z
  .strictObject({
    registry: z
      .string()
      .min(1)
      .default("registry.example.com")
      .describe("registry (and path) that holds the project's images"),
    tag: z
      .string()
      .regex(/^[\w][\w.-]{0,127}$/)
      .refine((tag) => tag !== "latest", "must be pinned, not `latest`")
      .default("0.1.0")
      .describe("tag of the project's images"),
    overrides: z
      .partialRecord(z.enum(IMAGE_NAMES), reference)
      .default({})
      .describe("full reference of single images, instead of registry and tag"),
    pullPolicy: z
      .enum(["Always", "IfNotPresent", "Never"])
      .default("IfNotPresent")
      .describe("imagePullPolicy of every container"),
    pullSecrets: z
      .array(z.string().min(1))
      .default([])
      .describe("names of existing image pull secrets in the namespace"),
  })
  .describe("where container images come from");
export type ImageSettings = z.infer<typeof imageSettings>;

/** The full reference of one of the project's images. */
export function imageReference(settings: ImageSettings, name: ImageName): string {
  return settings.overrides[name] ?? `${settings.registry}/iam-ha/${name}:${settings.tag}`;
}

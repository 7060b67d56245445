import { z } from "zod";
import { dnsLabel } from "../components/common/schema.ts";

/** What a region is for at the start of its life. Who is active at run time is decided elsewhere and never by config. */
export const REGION_ROLES = ["active", "standby", "disaster"] as const;

const region = z.strictObject({
  code: z
    .string()
    .regex(/^[a-z]{2}-[a-z]+-[0-9]+$/)
    .describe("label of the place (`topology.kubernetes.io/region`); not necessarily a cloud's region"),
  role: z.enum(REGION_ROLES).describe("what the region is for when the platform is made: active, standby or disaster"),
  priority: z.int().min(1).max(100).describe("who takes over first when the active region is lost: the lowest"),
});
export type RegionDefinition = z.infer<typeof region>;

/** The three regions of the design, §5.4.1. */
export const DEFAULT_REGIONS: Record<string, RegionDefinition> = {
  beijing: { code: "cn-north-1", role: "active", priority: 1 },
  shanghai: { code: "cn-east-1", role: "standby", priority: 2 },
  shenzhen: { code: "cn-south-1", role: "disaster", priority: 3 },
};

/** Regions as a record by name, so that one more renames none. */
export const topology = z
  .record(dnsLabel, region)
  .superRefine((regions, ctx) => {
    const entries = Object.entries(regions);
    const active = entries.filter(([, r]) => r.role === "active").map(([name]) => name);
    if (active.length !== 1) {
      ctx.addIssue({
        code: "custom",
        message: `exactly one region must have the role active, found ${active.length} (${active.join(", ")})`,
      });
    }
    for (const [name, r] of entries) {
      const twin = entries.find(([other, o]) => other < name && o.priority === r.priority);
      if (twin)
        ctx.addIssue({ code: "custom", path: [name, "priority"], message: `is also the priority of ${twin[0]}` });
    }
  })
  .describe("the regions of the platform");
export type Topology = z.infer<typeof topology>;

/** What a region publishes under its own name, §5.4.1. */
export const ENDPOINTS = ["api", "postgresql", "redis"] as const;
export type Endpoint = (typeof ENDPOINTS)[number];

/** `api-beijing.iam.example.com`: every cross-region address follows from this convention and needs no other stack. */
export function endpointName(endpoint: Endpoint, regionName: string, domain: string): string {
  return `${endpoint}-${regionName}.${domain}`;
}

/** The one name of the platform that follows the active region: `api.iam.example.com`. */
export function globalName(domain: string): string {
  return `api.${domain}`;
}

/** All regions but one, by takeover priority. */
export function peersOf(regions: Topology, name: string): string[] {
  return Object.entries(regions)
    .filter(([other]) => other !== name)
    .sort(([, a], [, b]) => a.priority - b.priority)
    .map(([other]) => other);
}

import { z } from "zod";
import { endpointName, ENDPOINTS, globalName } from "../components/common/names.ts";
import { dnsLabel } from "../components/common/schema.ts";
import { DEFAULT_LINKS, link, linkBetween, type Link } from "../sidecar/core/link.ts";

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

/** All regions but one, by takeover priority. */
export function peersOf(regions: Topology, name: string): string[] {
  return Object.entries(regions)
    .filter(([other]) => other !== name)
    .sort(([, a], [, b]) => a.priority - b.priority)
    .map(([other]) => other);
}

/** Links as a list; that every region has a source is seen with the regions beside it. */
export const links = z
  .array(link)
  .default([...DEFAULT_LINKS])
  .describe("how data travels between the regions, §5.4.2");

/** What is wrong with links among these regions: one line each, without the key's name. */
export function linkProblems(regions: Topology, all: readonly Link[]): string[] {
  const problems: string[] = [];
  all.forEach(({ from, to }, i) => {
    for (const [field, name] of Object.entries({ from, to })) {
      if (!(name in regions))
        problems.push(
          `links.${i}.${field}: found ${JSON.stringify(name)}; must be one of ${Object.keys(regions).join(", ")}`,
        );
    }
    if (from === to) problems.push(`links.${i}: leads from ${from} to itself`);
    const twin = all.findIndex((other) => linkBetween([other], from, to) !== undefined);
    if (twin < i) problems.push(`links.${i}: links.${twin} joins ${from} and ${to} already`);
  });
  const active = Object.keys(regions).find((name) => regions[name]!.role === "active");
  for (const name of Object.keys(regions)) {
    if (active !== undefined && name !== active && linkBetween(all, active, name) === undefined)
      problems.push(`links: ${name} has no source: add a link from ${active} to ${name}`);
  }
  return problems;
}

/** A certificate's common name is an endpoint's name, and X.509 has room for no more. */
const MAX_COMMON_NAME = 64;

/** What is wrong with the names that regions publish: one line each, without the key's name. */
export function addressProblems(regions: Topology, domain: string, clusterDomain: string): string[] {
  const problems: string[] = [];
  if (domain === clusterDomain || domain.endsWith(`.${clusterDomain}`)) {
    problems.push(
      `domain: found ${JSON.stringify(domain)}; must not be in cluster.domain, ${clusterDomain}: the cluster's DNS answers for that, and would never ask where another region is`,
    );
  }
  for (const name of Object.keys(regions)) {
    const longest = ENDPOINTS.map((endpoint) => endpointName(endpoint, name, domain)).sort(
      (a, b) => b.length - a.length,
    )[0]!;
    const label = longest.split(".")[0]!;
    if (label.length > 63)
      problems.push(`regions.${name}: its endpoint ${label} is longer than a DNS label, 63: choose a shorter name`);
    else if (longest.length > MAX_COMMON_NAME)
      problems.push(
        `regions.${name}: its endpoint ${longest} has ${longest.length} characters, a certificate's common name ${MAX_COMMON_NAME} at most: choose a shorter name, or a shorter domain`,
      );
  }
  return problems;
}

/** What is wrong with further names of the edge of a region: one line each, without the key's name. */
export function serverNameProblems(
  regions: Topology,
  region: string,
  domain: string,
  serverNames: readonly string[],
): string[] {
  const own = [domain, globalName(domain), endpointName("api", region, domain)];
  const taken = new Map(
    Object.keys(regions).flatMap((name) =>
      ENDPOINTS.map((endpoint) => [endpointName(endpoint, name, domain), `${endpoint} of ${name}`] as const),
    ),
  );
  return serverNames.flatMap((name, i) => {
    const holder = taken.get(name);
    if (holder === undefined || own.includes(name)) return [];
    return [
      `serverNames.${i}: found ${JSON.stringify(name)}; that name is the endpoint ${holder}, which one address alone can answer to: leave it out`,
    ];
  });
}

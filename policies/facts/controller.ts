import { z } from "zod";
import { COMPONENTS } from "../../components/common/names.ts";
import type { Given } from "../arithmetic/bound.ts";
import type { LinkTimings, Timings } from "../arithmetic/timings.ts";
import { linkBetween } from "../../sidecar/core/link.ts";
import { jsonAs } from "./parsed.ts";
import { durationSeconds } from "./values.ts";
import { podsOf } from "./probes.ts";
import { fileIn, titleOf, type Resource, type Stack } from "./stack.ts";

export const REGION_FILE = "region.json";
const WITNESS_FILE = "witness.json";

const name = z.string().min(1);

/** What rules read of region.json. */
const region = z.object({
  region: name,
  role: name,
  regions: z.record(name, z.object({ priority: z.number(), initiallyActive: z.boolean() })),
  links: z.array(
    z.object({
      from: name,
      to: name,
      mode: z.enum(["realtime", "near-realtime", "batch"]),
      intervalMillis: z.number(),
      batchSize: z.number(),
      maxAttempts: z.number(),
      retryDelayMillis: z.number(),
    }),
  ),
  witness: z.object({ leaseTtlSeconds: z.number(), callTimeoutMillis: z.number() }),
  postgres: z.object({ callTimeoutMillis: z.number() }),
  dns: z.object({ ttlSeconds: z.number() }),
  monitor: z.object({ intervalMillis: z.number(), maxLagSeconds: z.number(), sourceLostSeconds: z.number() }),
});

/** What the region controller is told. */
export type RegionFacts = z.infer<typeof region> & { readonly resource: Resource };

/** The controller's configuration in a resource; undefined for any other resource.
 *  @throws CannotJudge when it cannot be read */
export function regionIn(resource: Resource): RegionFacts | undefined {
  const text = fileIn(resource, COMPONENTS.regionController, REGION_FILE);
  return text === undefined ? undefined : { resource, ...jsonAs(region, text, `${titleOf(resource)} ${REGION_FILE}`) };
}

/** The controller's configuration in a stack.
 *  @throws CannotJudge when there is none, or when it cannot be read */
export function regionOf(stack: Stack): RegionFacts {
  return regionIn(stack.file(COMPONENTS.regionController, REGION_FILE).resource)!;
}

const witness = z.object({ region: name, members: z.record(name, z.unknown()), etcd: z.array(z.string()) });

/** What this region's member of the witness is told. */
export interface WitnessFacts {
  readonly resource: Resource;
  readonly region: string;
  /** Regions that have a member. */
  readonly members: readonly string[];
  readonly heartbeatMillis: number;
  readonly electionMillis: number;
}

/** etcd's own, in milliseconds. */
const ETCD = { "heartbeat-interval": 100, "election-timeout": 1000 } as const;

/** The configuration of the witness' member in a stack.
 *  @throws CannotJudge when there is none, or when it cannot be read */
export function witnessOf(stack: Stack): WitnessFacts {
  const { resource, text } = stack.file(COMPONENTS.witness, WITNESS_FILE);
  const where = `${titleOf(resource)} ${WITNESS_FILE}`;
  const { region: own, members, etcd } = jsonAs(witness, text, where);
  const flag = (key: keyof typeof ETCD) => {
    const value = etcd.find((one) => one.startsWith(`--${key}=`))?.split("=")[1];
    return value === undefined ? ETCD[key] : 1000 * durationSeconds(value, "ms", `${where} etcd --${key}`);
  };
  return {
    resource,
    region: own,
    members: Object.keys(members),
    heartbeatMillis: flag("heartbeat-interval"),
    electionMillis: flag("election-timeout"),
  };
}

export function controllerTimings(stack: Stack): Timings["controller"] {
  const facts = regionOf(stack);
  const at = (path: string, value: number): Given => ({
    value,
    source: `${titleOf(facts.resource)} ${REGION_FILE} ${path}`,
  });
  const links = facts.links.map((one, i): LinkTimings => {
    const path = `links[${i}] (${one.from} to ${one.to})`;
    return {
      from: one.from,
      to: one.to,
      interval: at(`${path}.intervalMillis`, one.intervalMillis / 1000),
      attempts: at(`${path}.maxAttempts`, one.maxAttempts),
      retryDelay: at(`${path}.retryDelayMillis`, one.retryDelayMillis / 1000),
    };
  });
  const takeover = takeoverLink(facts);
  return {
    ...podsOf(stack, COMPONENTS.regionController, "region-controller"),
    leaseTtl: at("witness.leaseTtlSeconds", facts.witness.leaseTtlSeconds),
    witnessCall: at("witness.callTimeoutMillis", facts.witness.callTimeoutMillis / 1000),
    databaseCall: at("postgres.callTimeoutMillis", facts.postgres.callTimeoutMillis / 1000),
    interval: at("monitor.intervalMillis", facts.monitor.intervalMillis / 1000),
    maxLag: at("monitor.maxLagSeconds", facts.monitor.maxLagSeconds),
    sourceLost: at("monitor.sourceLostSeconds", facts.monitor.sourceLostSeconds),
    links,
    takeoverLink: takeover && links[facts.links.indexOf(takeover)],
  };
}

/** Link from the active region to the one that takes over first. Where none is marked active, or several are, the first
 *  counts: that they are not one is for another rule to say. */
function takeoverLink({ regions, links }: RegionFacts): RegionFacts["links"][number] | undefined {
  const byPriority = Object.keys(regions).sort((a, b) => regions[a]!.priority - regions[b]!.priority);
  const active = byPriority.find((one) => regions[one]!.initiallyActive) ?? byPriority[0];
  const first = byPriority.find((one) => one !== active);
  return active === undefined || first === undefined ? undefined : linkBetween(links, active, first);
}

/** Time for which an answer of the name may be kept: the record's, or less where CoreDNS' cache says so. */
export function dnsTimings(stack: Stack): Timings["dns"] {
  const resource = stack.resources.find((one) => fileIn(one, COMPONENTS.globalDns, "Corefile") !== undefined);
  if (!resource) return undefined;
  const { dns, resource: controller } = regionOf(stack);
  const caps = [...fileIn(resource, COMPONENTS.globalDns, "Corefile")!.matchAll(/^\s*success\s+\d+\s+(\d+)/gm)];
  const cap = Math.max(...caps.map(([, seconds]) => Number(seconds)));
  const record = { value: dns.ttlSeconds, source: `${titleOf(controller)} ${REGION_FILE} dns.ttlSeconds` };
  if (caps.length === 0 || cap >= record.value) return { ttl: record };
  return { ttl: { value: cap, source: `${titleOf(resource)} Corefile cache success` } };
}

export function witnessTimings(stack: Stack): Timings["witness"] {
  const { resource, electionMillis } = witnessOf(stack);
  const source = `${titleOf(resource)} ${WITNESS_FILE} etcd --election-timeout`;
  return { election: { value: electionMillis / 1000, source } };
}

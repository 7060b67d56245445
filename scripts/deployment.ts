import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { planInstance } from "./local/plan/instance.ts";
import type { RegionPlace } from "./local/values/overlay.ts";
import { writePrivate } from "./private-file.ts";

/** A region that `start` brought up, and where people and tools reach it. */
export interface DeployedRegion extends RegionPlace {
  /** The kubectl program to reach it with: our own for an embedded cluster, the one on PATH for the user's. */
  readonly kubectl: string;
  /** Whether its cluster is an embedded one. */
  readonly embedded: boolean;
  /** Namespace that holds the platform. */
  readonly namespace: string;
  /** Where the edge answers on this host; undefined where the cluster's own load balancer has to be asked. */
  readonly edge?: { readonly address: string; readonly httpsPort: number; readonly httpPort: number };
}

/** What `start` brought up, kept for `status`, `stop` and tests. */
export interface Deployment {
  readonly regions: readonly DeployedRegion[];
}

function fileOf(instance: string): string {
  return join(planInstance(process.env, instance).state, "deployment.json");
}

/** What runs under this instance; empty when nothing was started. */
export function loadDeployment(instance: string): Deployment {
  const file = fileOf(instance);
  return existsSync(file) ? (JSON.parse(readFileSync(file, "utf8")) as Deployment) : { regions: [] };
}

/** Adds regions to the record, or replaces them in it. */
export function recordRegions(instance: string, regions: readonly DeployedRegion[]): void {
  const names = regions.map(({ region }) => region);
  const others = loadDeployment(instance).regions.filter(({ region }) => !names.includes(region));
  save(instance, { regions: [...others, ...regions] });
}

/** Takes regions out of the record. */
export function forgetRegions(instance: string, names: readonly string[]): void {
  if (!existsSync(fileOf(instance))) return;
  save(instance, { regions: loadDeployment(instance).regions.filter(({ region }) => !names.includes(region)) });
}

function save(instance: string, deployment: Deployment): void {
  mkdirSync(planInstance(process.env, instance).state, { recursive: true, mode: 0o700 });
  writePrivate(fileOf(instance), `${JSON.stringify(deployment, null, 2)}\n`);
}

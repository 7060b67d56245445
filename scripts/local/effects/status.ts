import type { CgroupLayout } from "../plan/cgroups.ts";
import { daemonNames, type DaemonName } from "../plan/daemons.ts";
import type { RegionName, RegionPlan } from "../plan/regions.ts";
import { openApi } from "./api.ts";
import { daemonPids, podPids } from "./cgroup.ts";
import { alivePid } from "./daemon.ts";
import { exists } from "./files.ts";

/** What can be seen of one region from outside. */
export interface RegionStatus {
  readonly region: RegionName;
  /** `stopped`: no process of it. `running`: all daemons, the API answers. `degraded`: anything between. */
  readonly state: "running" | "degraded" | "stopped";
  /** Whether data of an earlier run is there. */
  readonly hasData: boolean;
  readonly daemons: Readonly<Record<DaemonName, number | undefined>>;
  /** The API server's own word on its readiness. */
  readonly apiReady: boolean;
  /** Processes in pods. */
  readonly podProcesses: number;
}

export async function readStatus(plan: RegionPlan, layout: CgroupLayout): Promise<RegionStatus> {
  const entries = await Promise.all(daemonNames.map(async (name) => [name, await alivePid(plan, name)] as const));
  const alive = entries.filter(([, pid]) => pid !== undefined).length;
  const pods = (await podPids(layout, plan.cgroup)).length;
  const others = (await daemonPids(layout, plan.cgroup)).length;
  const apiReady = alive > 0 && (await isApiReady(plan));
  return {
    region: plan.region,
    state: alive + pods + others === 0 ? "stopped" : alive === daemonNames.length && apiReady ? "running" : "degraded",
    hasData: await exists(plan.pki),
    daemons: Object.fromEntries(entries) as Record<DaemonName, number | undefined>,
    apiReady,
    podProcesses: pods,
  };
}

async function isApiReady(plan: RegionPlan): Promise<boolean> {
  try {
    return (await (await openApi(plan)).get("/readyz")).status === 200;
  } catch {
    return false;
  }
}

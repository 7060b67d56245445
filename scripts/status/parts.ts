import { ROLE_VALUES } from "../../components/postgres/patroni.ts";
/** One line of the status board: one pod, what it is and how it does. */
export interface PartRow {
  readonly region: string;
  /** Part of the platform, such as `postgresql`. */
  readonly part: string;
  /** The pod's name; empty where a part has no pods at all. */
  readonly pod: string;
  /** What it does just now: primary, replica, master, …; empty where all pods of a part do the same. */
  readonly role: string;
  readonly healthy: boolean;
  /** Why it is not healthy, or something worth knowing. */
  readonly detail: string;
}

/** What is read of a pod. */
export interface PodFacts {
  readonly metadata: {
    readonly name: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
    readonly deletionTimestamp?: string;
  };
  readonly spec?: {
    readonly containers?: readonly {
      readonly ports?: readonly { readonly name?: string; readonly containerPort: number }[];
    }[];
  };
  readonly status?: {
    readonly phase?: string;
    readonly conditions?: readonly { readonly type: string; readonly status: string; readonly message?: string }[];
    readonly containerStatuses?: readonly ContainerFacts[];
    readonly initContainerStatuses?: readonly ContainerFacts[];
  };
}
interface ContainerFacts {
  readonly name: string;
  readonly ready: boolean;
  readonly restartCount: number;
  readonly state?: {
    readonly waiting?: { readonly reason?: string; readonly message?: string };
    readonly terminated?: { readonly reason?: string; readonly exitCode?: number };
  };
}

/** What is read of a Deployment or StatefulSet. */
export interface WorkloadFacts {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly labels?: Readonly<Record<string, string>> };
  readonly spec?: { readonly replicas?: number };
}

/** What one region says of itself. */
export interface RegionFacts {
  readonly region: string;
  readonly workloads: readonly WorkloadFacts[];
  readonly pods: readonly PodFacts[];
  /** Role of each Redis node by pod name; empty when none of them answered. */
  readonly redisRoles: Readonly<Record<string, string>>;
}

const NAME = "app.kubernetes.io/name";

/** Every part of a region with its role and health: a row per pod, and a row per pod that should be there and is not. */
export function assess(facts: RegionFacts): PartRow[] {
  return [...facts.workloads]
    .sort((a, b) => a.metadata.name.localeCompare(b.metadata.name))
    .flatMap((workload) => {
      const part = workload.metadata.labels?.[NAME] ?? workload.metadata.name;
      const pods = facts.pods
        .filter((pod) => pod.metadata.labels?.[NAME] === part)
        .sort((a, b) => a.metadata.name.localeCompare(b.metadata.name));
      const rows = pods.map((pod) => podRow(facts, part, pod));
      const healthy = rows.filter((row) => row.healthy).length;
      const wanted = workload.spec?.replicas ?? 1;
      if (pods.length < wanted) rows.push(missingRow(facts.region, part, pods.length, wanted));
      else if (healthy >= wanted) return rows.filter((row) => row.healthy || !leaving(facts.pods, row.pod));
      return rows;
    })
    .concat(clusterRows(facts));
}

function leaving(pods: readonly PodFacts[], name: string): boolean {
  return pods.some((pod) => pod.metadata.name === name && pod.metadata.deletionTimestamp !== undefined);
}

function missingRow(region: string, part: string, found: number, wanted: number): PartRow {
  return { region, part, pod: "", role: "", healthy: false, detail: `${found} of ${wanted} pods exist` };
}

function podRow(facts: RegionFacts, part: string, pod: PodFacts): PartRow {
  const ready = pod.status?.conditions?.some((c) => c.type === "Ready" && c.status === "True") ?? false;
  const leavingNow = pod.metadata.deletionTimestamp !== undefined;
  return {
    region: facts.region,
    part,
    pod: pod.metadata.name,
    role: roleOf(facts, pod),
    healthy: ready && !leavingNow,
    detail: leavingNow ? "is being deleted" : ready ? restarts(pod) : reason(pod),
  };
}

function roleOf(facts: RegionFacts, pod: PodFacts): string {
  return facts.redisRoles[pod.metadata.name] ?? databaseRole(pod);
}

/** Patroni writes the role of a database pod into its label `role`, by which Services select: there the leader of a
 *  standby region may be called as a primary is. The annotation `status` has Patroni's own word. */
function databaseRole(pod: PodFacts): string {
  const label = pod.metadata.labels?.["role"];
  if (label === undefined) return "";
  try {
    const { role } = JSON.parse(pod.metadata.annotations?.["status"] ?? "{}") as { role?: unknown };
    if (role === "standby_leader") return "standby leader";
  } catch {
    // no word of Patroni's
  }
  return label === ROLE_VALUES.standbyLeader ? "standby leader" : label;
}

function restarts(pod: PodFacts): string {
  const count = (pod.status?.containerStatuses ?? []).reduce((sum, container) => sum + container.restartCount, 0);
  return count === 0 ? "" : `${count} restart${count === 1 ? "" : "s"}`;
}

function reason(pod: PodFacts): string {
  const containers = [...(pod.status?.initContainerStatuses ?? []), ...(pod.status?.containerStatuses ?? [])];
  for (const container of containers) {
    const { waiting, terminated } = container.state ?? {};
    if (waiting?.reason && waiting.reason !== "PodInitializing") return `${container.name}: ${waiting.reason}`;
    if (terminated && terminated.exitCode !== 0) return `${container.name}: ended with ${terminated.exitCode}`;
  }
  const unready = containers.find((container) => !container.ready);
  if (unready && pod.status?.phase === "Running") return `${unready.name}: not ready`;
  const scheduled = pod.status?.conditions?.find((c) => c.type === "PodScheduled" && c.status !== "True");
  return scheduled?.message ?? pod.status?.phase ?? "unknown";
}

const LEADING: readonly string[] = [ROLE_VALUES.primary, ROLE_VALUES.standbyLeader];

/** What no single pod shows: a database without a leader, be it the primary or a standby region's. */
function clusterRows(facts: RegionFacts): PartRow[] {
  const database = facts.pods.filter((pod) => pod.metadata.labels?.["app.kubernetes.io/name"] === "postgresql");
  if (database.length === 0) return [];
  const leaders = database.filter((pod) => LEADING.includes(pod.metadata.labels?.["role"] ?? ""));
  if (leaders.length === 1) return [];
  const names = leaders.map((pod) => pod.metadata.name).join(", ");
  return [
    {
      region: facts.region,
      part: "postgresql",
      pod: "",
      role: "",
      healthy: false,
      detail: leaders.length === 0 ? "has no leader" : `has ${leaders.length} leaders: ${names}`,
    },
  ];
}

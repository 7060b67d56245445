import { COMPONENTS } from "../../components/common/names.ts";
import { kubectl, type ClusterAccess } from "../kubernetes.ts";
import type { PodFacts, RegionFacts } from "./parts.ts";
import { parseReport, type RegionReport } from "./report.ts";

/** How long a region may take to tell its status, in milliseconds. */
const LIMIT_MS = 3000;
const NAME = "app.kubernetes.io/name";
/** Name of the container's port for probes and the board, plain HTTP. */
const STATUS_PORT = "status";

/** Asks a region's controller how the region stands: each of its pods has the whole answer.
 *  @returns undefined where the region has none; never throws: what went wrong is in the report */
export async function readReport(
  facts: RegionFacts,
  namespace: string,
  access: ClusterAccess,
  signal?: AbortSignal,
): Promise<RegionReport | undefined> {
  const { region } = facts;
  if (!facts.workloads.some((workload) => workload.metadata.labels?.[NAME] === COMPONENTS.regionController))
    return undefined;
  const running = facts.pods.filter(
    (pod) => pod.metadata.labels?.[NAME] === COMPONENTS.regionController && pod.status?.phase === "Running",
  );
  let error = "no pod of its controller runs";
  const end = Date.now() + LIMIT_MS;
  for (const pod of running.sort((a, b) => Number(isReady(b)) - Number(isReady(a)))) {
    const left = end - Date.now();
    if (left <= 0) break;
    const port = statusPort(pod);
    if (port === undefined) {
      error = `${pod.metadata.name} has no container port named ${STATUS_PORT}`;
      continue;
    }
    const script = `fetch("http://127.0.0.1:${port}/status.json",{signal:AbortSignal.timeout(${left})}).then(async(r)=>process.stdout.write(await r.text()))`;
    try {
      const answer = await kubectl(access, ["exec", "-n", namespace, pod.metadata.name, "--", "node", "-e", script], {
        timeoutMs: left,
        ...(signal ? { signal } : {}),
      });
      return parseReport(region, answer);
    } catch (failure) {
      const why = failure instanceof Error ? failure.message : String(failure);
      error = `its controller does not answer: ${why.split("\n")[0]!}`;
    }
  }
  return { region, error };
}

function isReady(pod: PodFacts): boolean {
  return pod.status?.conditions?.some((c) => c.type === "Ready" && c.status === "True") ?? false;
}

function statusPort(pod: PodFacts): number | undefined {
  const ports = (pod.spec?.containers ?? []).flatMap((container) => container.ports ?? []);
  return ports.find((port) => port.name === STATUS_PORT)?.containerPort;
}

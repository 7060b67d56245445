import { setTimeout as sleep } from "node:timers/promises";
import { loadDeployment, type DeployedRegion } from "../../scripts/deployment.ts";
import * as kubernetes from "../../scripts/kubernetes.ts";
import { accessTo } from "../../scripts/start/access.ts";
import { readReport } from "../../scripts/status/controllers.ts";
import { observeRegion } from "../../scripts/status/observe.ts";
import type { RegionStatus } from "../../sidecar/core/region-status.ts";
import { edgeRequest, login, type Answer } from "../../scripts/start/login.ts";

/** Instance whose running region the live tests look at. */
export const INSTANCE = process.env["IAM_HA_INSTANCE"] ?? "default";
const NAMESPACE = "iam";

/** The region under test.
 *  @throws Error when it is not running */
export function place(region = "beijing"): DeployedRegion {
  const found = loadDeployment(INSTANCE).regions.find((deployed) => deployed.region === region);
  if (!found)
    throw new Error(
      `${region} is not running in instance ${INSTANCE}: \`npm test live\` starts it, or start it yourself`,
    );
  return found;
}

/** What a test does in one region. */
export interface RegionUnderTest {
  readonly name: string;
  /** kubectl in the platform's namespace. */
  readonly kubectl: (args: readonly string[], options?: kubernetes.KubectlOptions) => Promise<string>;
  readonly kubectlJson: <T>(args: readonly string[], options?: kubernetes.KubectlOptions) => Promise<T>;
  /** Runs a command in a container and gives what it prints. */
  readonly exec: (
    pod: string,
    container: string,
    argv: readonly string[],
    options?: kubernetes.KubectlOptions,
  ) => Promise<string>;
  /** Runs SQL as the superuser on a database pod, by default the one that leads; gives its rows unaligned. */
  readonly sql: (statement: string, options?: { pod?: string; database?: string }) => Promise<string>;
  /** Name of the database pod that leads. */
  readonly leader: () => Promise<string>;
  /** A request to the edge over https. */
  readonly edge: (path: string, options?: Parameters<typeof edgeRequest>[3]) => Promise<Answer>;
  /** A real login through the edge. */
  readonly logIn: () => ReturnType<typeof login>;
}

export function region(name: string): RegionUnderTest {
  const kubectl: RegionUnderTest["kubectl"] = (args, options = {}) =>
    kubernetes.kubectl(accessTo(place(name)), ["-n", NAMESPACE, ...args], options);
  const exec: RegionUnderTest["exec"] = (pod, container, argv, options = {}) =>
    kubectl(["exec", ...(options.stdin === undefined ? [] : ["-i"]), pod, "-c", container, "--", ...argv], options);
  const leader = async () => {
    const { items } = await kubernetes.kubectlJson<{ items: { metadata: { name: string } }[] }>(accessTo(place(name)), [
      "-n",
      NAMESPACE,
      "get",
      "pods",
      "-l",
      `app.kubernetes.io/name=postgresql,role in (primary,standby-leader)`,
    ]);
    const pod = items[0]?.metadata.name;
    if (pod === undefined || items.length > 1) throw new Error(`${name} has ${items.length} database leaders`);
    return pod;
  };
  return {
    name,
    kubectl,
    kubectlJson: (args, options = {}) =>
      kubernetes.kubectlJson(accessTo(place(name)), ["-n", NAMESPACE, ...args], options),
    exec,
    leader,
    sql: async (statement, { pod, database = "iam" } = {}) =>
      (
        await exec(
          pod ?? (await leader()),
          "postgres",
          ["psql", "-X", "-h", "/run/postgresql", "-U", "postgres", "-d", database, "-At", "-f", "-"],
          { stdin: statement, timeoutMs: 60_000 },
        )
      ).trim(),
    edge: (path, options = {}) => edgeRequest(place(name), INSTANCE, path, options),
    logIn: () => login(place(name), INSTANCE),
  };
}

/** The active region, of which most tests are. */
export const { kubectl, kubectlJson, exec: execInPod, edge, logIn } = region("beijing");

/** What a region's controller tells.
 *  @throws Error when it does not answer */
export async function statusOf(name: string): Promise<RegionStatus> {
  const where = place(name);
  const access = accessTo(where);
  const report = await readReport(await observeRegion(name, NAMESPACE, access), NAMESPACE, access);
  if (report === undefined || "error" in report) throw new Error(`${name}: ${report?.error ?? "has no controller"}`);
  return report.status;
}

/** Asks again until there is an answer that is not undefined; the last error is part of the failure. */
export async function waitFor<T>(
  what: string,
  ask: () => Promise<T | undefined>,
  timeoutMs = 60_000,
  intervalMs = 500,
): Promise<T> {
  const end = Date.now() + timeoutMs;
  let last: unknown;
  for (;;) {
    try {
      const answer = await ask();
      if (answer !== undefined) return answer;
      last = undefined;
    } catch (error) {
      last = error;
    }
    if (Date.now() > end) {
      const why = last instanceof Error ? `: ${last.message}` : "";
      throw new Error(`${what}: not within ${timeoutMs} ms${why}`);
    }
    await sleep(intervalMs);
  }
}

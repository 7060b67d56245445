import { setTimeout as sleep } from "node:timers/promises";
import { loadDeployment, type DeployedRegion } from "../../scripts/deployment.ts";
import * as kubernetes from "../../scripts/kubernetes.ts";
import { accessTo } from "../../scripts/start/access.ts";
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

/** kubectl in the platform's namespace. */
export function kubectl(args: readonly string[], options: kubernetes.KubectlOptions = {}): Promise<string> {
  return kubernetes.kubectl(accessTo(place()), ["-n", NAMESPACE, ...args], options);
}

export function kubectlJson<T>(args: readonly string[], options: kubernetes.KubectlOptions = {}): Promise<T> {
  return kubernetes.kubectlJson<T>(accessTo(place()), ["-n", NAMESPACE, ...args], options);
}

/** Runs a command in a container and gives what it prints. */
export function execInPod(
  pod: string,
  container: string,
  argv: readonly string[],
  options: kubernetes.KubectlOptions = {},
): Promise<string> {
  return kubectl(
    ["exec", ...(options.stdin === undefined ? [] : ["-i"]), pod, "-c", container, "--", ...argv],
    options,
  );
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

/** A request to the edge over https. */
export function edge(path: string, options: Parameters<typeof edgeRequest>[3] = {}): Promise<Answer> {
  return edgeRequest(place(), INSTANCE, path, options);
}

/** A real login through the edge. */
export function logIn(): ReturnType<typeof login> {
  return login(place(), INSTANCE);
}

import { homedir } from "node:os";
import { join } from "node:path";

/** One independent set of embedded clusters on this machine. Instances share nothing but the content-addressed caches. */
export interface Instance {
  /** Lower-case name, `default` for people, another one for tests. */
  readonly name: string;
  /** What has to outlive a restart: data, certificates, logs. */
  readonly state: string;
  /** What has to go with a reboot: sockets, process ids, container state. */
  readonly run: string;
  /** Builds and downloads, shared by instances and clones. */
  readonly cache: string;
  /** First of the host ports, when somebody chose it; see `ports.ts`. */
  readonly portBase?: number;
}

const NAME = /^[a-z][a-z0-9-]{0,15}$/;

/**
 * Finds an instance's folders. Short names matter: the path of a unix socket below `run` may have 107 characters, and a
 * network namespace and a cgroup carry the name as well.
 *
 * @param env `IAM_HA_INSTANCE` (default `default`), `IAM_HA_HOME` (default `/var/lib/iam-ha`), `XDG_CACHE_HOME`
 *   (default `~/.cache`), `IAM_HA_PORT_BASE` (see `ports.ts`).
 * @param name overrides `IAM_HA_INSTANCE`.
 * @throws RangeError for a name or port base that cannot be used.
 */
export function planInstance(env: Readonly<Record<string, string | undefined>>, name?: string): Instance {
  const chosen = name ?? (env.IAM_HA_INSTANCE || "default");
  if (!NAME.test(chosen) || chosen.endsWith("-")) {
    throw new RangeError(
      `IAM_HA_INSTANCE is ${JSON.stringify(chosen)}: use 1 to 16 lower-case letters, digits and inner hyphens, a letter first.`,
    );
  }
  const home = env.IAM_HA_HOME || "/var/lib/iam-ha";
  if (!home.startsWith("/") || /[\s'"\\]/.test(home)) {
    throw new RangeError(
      `IAM_HA_HOME is ${JSON.stringify(home)}: use an absolute path without spaces, quotes and backslashes.`,
    );
  }
  return {
    name: chosen,
    state: join(home, chosen),
    run: join("/run/iam-ha", chosen),
    cache: join(env.XDG_CACHE_HOME || join(env.HOME || homedir(), ".cache"), "iam-ha"),
    ...(env.IAM_HA_PORT_BASE ? { portBase: parsePortBase(env.IAM_HA_PORT_BASE) } : {}),
  };
}

function parsePortBase(text: string): number {
  const base = /^\d{1,5}$/.test(text) ? Number(text) : NaN;
  if (!(base >= 1024 && base <= 65_000)) {
    throw new RangeError(`IAM_HA_PORT_BASE is ${JSON.stringify(text)}: use a port number from 1024 to 65000.`);
  }
  return base;
}

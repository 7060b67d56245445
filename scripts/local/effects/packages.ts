import { access, chmod, mkdir, readdir, rename, rm, writeFile } from "node:fs/promises";
import { constants } from "node:fs";
import { delimiter, join } from "node:path";
import { hash, readIfThere, withLock } from "./files.ts";
import { CommandError, run } from "./run.ts";

/**
 * Packages of which only the programs are wanted. They are fetched and verified by apt and unpacked into the cache, not
 * installed: an installed containerd or etcd would start a service, and would push out another packager's containerd
 * together with the Docker engine that needs it.
 */
const UNPACKED = ["containerd", "runc", "etcd-server", "containernetworking-plugins"];

/** Programs that have to be installed, because they find their own parts by fixed paths, and the package of each. */
const INSTALLED: Readonly<Record<string, string>> = {
  iptables: "iptables",
  ip: "iproute2",
  nsenter: "util-linux",
  unshare: "util-linux",
  mount: "mount",
};

/** Where Debian keeps programs for root; a user's PATH may lack them. */
export const SYSTEM_PATH = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

export interface PackageOptions {
  readonly cache: string;
  /** VERSION_ID of /etc/os-release. */
  readonly debian: string;
  readonly signal?: AbortSignal;
  readonly onProgress?: (detail: string) => void;
}

/**
 * Fetches what is missing. What was unpacked once is used until the folder is removed, so that an update of the package
 * lists never restarts a running region.
 *
 * @returns the folder that holds `usr/bin`, `usr/sbin` and `usr/lib/cni`.
 */
export async function ensurePackages(options: PackageOptions): Promise<string> {
  await installMissing(options);
  const folder = join(options.cache, "packages", `debian-${options.debian}-${hash(...UNPACKED).slice(0, 12)}`);
  const complete = join(folder, "complete");
  if ((await readIfThere(complete)) !== undefined) return folder;
  await withLock(`${folder}.lock`, { signal: options.signal, timeout: 15 * 60_000 }, async () => {
    if ((await readIfThere(complete)) !== undefined) return;
    const temporary = `${folder}.new`;
    await rm(temporary, { recursive: true, force: true });
    await mkdir(join(temporary, "debs"), { recursive: true });
    // apt drops its rights for the download and has to be able to write here.
    await chmod(join(temporary, "debs"), 0o777);
    options.onProgress?.(`fetching ${UNPACKED.join(", ")}`);
    await withFreshLists(options, () => apt(["download", ...UNPACKED], options, join(temporary, "debs")));
    for (const deb of await readdir(join(temporary, "debs"))) {
      await run("dpkg-deb", ["--extract", join(temporary, "debs", deb), temporary], { signal: options.signal });
    }
    await rm(join(temporary, "debs"), { recursive: true });
    await check(temporary, options);
    await writeFile(join(temporary, "complete"), "");
    await rm(folder, { recursive: true, force: true });
    await rename(temporary, folder);
  });
  return folder;
}

/** A library that is missing shows now, with its name, and not as a daemon that never comes up. */
async function check(folder: string, options: PackageOptions): Promise<void> {
  const env = { PATH: SYSTEM_PATH.join(delimiter) };
  for (const program of ["usr/bin/containerd", "usr/sbin/runc", "usr/bin/etcd"]) {
    await run(join(folder, program), ["--version"], { signal: options.signal, env });
  }
}

async function installMissing(options: PackageOptions): Promise<void> {
  const missing = new Set<string>();
  for (const [program, name] of Object.entries(INSTALLED)) if (!(await isInstalled(program))) missing.add(name);
  if (missing.size === 0) return;
  options.onProgress?.(`installing ${[...missing].join(", ")}`);
  await withFreshLists(options, () => apt(["install", "--yes", "--no-install-recommends", ...missing], options));
}

async function isInstalled(program: string): Promise<boolean> {
  for (const folder of SYSTEM_PATH) {
    try {
      await access(join(folder, program), constants.X_OK);
      return true;
    } catch {
      // not in this folder
    }
  }
  return false;
}

/** Without package lists, or with lists older than the mirror's content, apt fails: then they are fetched, once. */
async function withFreshLists(options: PackageOptions, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (!(error instanceof CommandError)) throw error;
    options.onProgress?.("updating the package lists");
    await apt(["update"], options);
    await work();
  }
}

async function apt(args: readonly string[], options: PackageOptions, cwd?: string): Promise<void> {
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive", PATH: SYSTEM_PATH.join(delimiter) };
  await run("apt-get", ["-qq", "-o", "DPkg::Lock::Timeout=300", ...args], {
    cwd,
    env,
    signal: options.signal,
    timeout: 10 * 60_000,
  });
}

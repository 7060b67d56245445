/**
 * What the host's apt knows, for the machine's own packages and for apt inside a build: mirrors, proxies, time-outs.
 * The parsing is pure. None of it ends up in an image or in the repository.
 */
import { constants } from "node:fs";
import { access, readFile, readdir } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { CommandError, programFolders, run } from "./run.ts";

/** Debian's package for each program a build calls. */
const PACKAGE_OF: Readonly<Record<string, string>> = {
  buildah: "buildah",
  mmdebstrap: "mmdebstrap",
  flock: "util-linux",
  setpriv: "util-linux",
};

const APT_TIMEOUT_MS = 15 * 60_000;

/** How long another apt is waited for: five minutes, as DPkg::Lock::Timeout below. */
const LOCK_ATTEMPTS = 100;
const LOCK_PAUSE_MS = 3_000;

/**
 * The host's mirrors of a Debian suite, as lines of a sources.list for another suite; empty when the host has none,
 * or none for the release it runs. Pure.
 *
 * @param files contents of the host's sources, one-line or deb822
 * @param codename the release the host runs, for example "bookworm"
 * @param suite the release wanted
 */
export function sourcesFor(files: readonly string[], codename: string, suite: string): string[] {
  const lines = new Set<string>();
  for (const { uris, suites, components } of files.flatMap(parseSources)) {
    // Debian's own archive is told from others by its suite and component alone: a mirror may have any address.
    if (!components.includes("main")) continue;
    for (const uri of uris) {
      for (const found of suites) {
        const pocket = found.slice(codename.length);
        if (!found.startsWith(codename) || !["", "-updates", "-security"].includes(pocket)) continue;
        lines.add(`deb ${uri.replace(/\/+$/, "")} ${suite}${pocket} main`);
      }
    }
  }
  // Security updates alone are no archive to install from.
  return [...lines].some((line) => line.endsWith(` ${suite} main`)) ? [...lines].sort() : [];
}

interface SourceEntry {
  uris: string[];
  suites: string[];
  components: string[];
}

function parseSources(text: string): SourceEntry[] {
  return /^\s*Types\s*:/im.test(text) ? parseDeb822(text) : parseOneLine(text);
}

function parseOneLine(text: string): SourceEntry[] {
  return text.split("\n").flatMap((line) => {
    const match = /^\s*deb\s+(?:\[[^\]]*\]\s+)?(\S+)\s+(\S+)\s+([^#]*)/.exec(line);
    if (match === null) return [];
    const [, uri = "", suite = "", components = ""] = match;
    return [{ uris: [uri], suites: [suite], components: words(components) }];
  });
}

function parseDeb822(text: string): SourceEntry[] {
  return text.split(/\n\s*\n/).flatMap((stanza) => {
    const fields = new Map<string, string>();
    let name = "";
    for (const line of stanza.split("\n")) {
      if (line.startsWith("#")) continue;
      const match = /^([A-Za-z-]+)\s*:(.*)$/.exec(line);
      if (match !== null) {
        name = (match[1] ?? "").toLowerCase();
        fields.set(name, match[2] ?? "");
      } else if (name !== "") fields.set(name, `${fields.get(name)} ${line}`);
    }
    const field = (key: string): string[] => words(fields.get(key) ?? "");
    if (!field("types").includes("deb") || field("enabled").includes("no")) return [];
    return [{ uris: field("uris"), suites: field("suites"), components: field("components") }];
  });
}

function words(text: string): string[] {
  return text.split(/\s+/).filter((word) => word !== "");
}

/** The settings of `apt-config dump` that say how to fetch (proxies, time-outs, certificates, dates). Pure. */
export function fetchSettings(dump: string): string[] {
  return dump
    .split("\n")
    .filter((line) =>
      /^Acquire::(?:https?::|Retries|ForceIPv|Check-Date|Check-Valid-Until|Max-ValidTime|Queue-Mode)[^"]*"[^"]+";$/.test(
        line.trim(),
      ),
    )
    .map((line) => line.trim());
}

/** How apt on this host fetches Debian packages. */
export interface HostApt {
  /** Lines of a sources.list for the suite asked for; empty where the host has no mirror of its own. */
  sources: string[];
  /** Lines of an apt.conf. */
  settings: string[];
}

/** Reads the host's apt configuration. */
export async function hostApt(suite: string): Promise<HostApt> {
  const release = await readFile("/etc/os-release", "utf8").catch(() => "");
  const codename = /^VERSION_CODENAME="?([\w-]+)"?$/m.exec(release)?.[1];
  const files: string[] = [];
  for (const path of ["/etc/apt/sources.list", ...(await list("/etc/apt/sources.list.d"))]) {
    if (/\.(?:list|sources)$/.test(path)) files.push(await readFile(path, "utf8").catch(() => ""));
  }
  const dump = await run(["apt-config", "dump"], { timeoutMs: 10_000 }).catch(() => "");
  return { sources: codename === undefined ? [] : sourcesFor(files, codename, suite), settings: fetchSettings(dump) };
}

async function list(folder: string): Promise<string[]> {
  const names = await readdir(folder).catch(() => []);
  return names.sort().map((name) => join(folder, name));
}

/** The key that signs the base's packages: a Debian 12 that was not updated for long lacks it. */
const BASE_KEY = "/usr/share/keyrings/debian-archive-trixie-stable.gpg";

/** Names of the Debian packages that are still to be installed before a build. */
export async function missingPackages(): Promise<string[]> {
  const missing = new Set<string>();
  for (const [program, name] of Object.entries(PACKAGE_OF)) if (!(await isInstalled(program))) missing.add(name);
  if (!(await can(BASE_KEY, constants.R_OK))) missing.add("debian-archive-keyring");
  return [...missing];
}

async function isInstalled(program: string): Promise<boolean> {
  for (const folder of programFolders()) if (await can(join(folder, program), constants.X_OK)) return true;
  return false;
}

function can(path: string, mode: number): Promise<boolean> {
  return access(path, mode).then(
    () => true,
    () => false,
  );
}

/**
 * Installs Debian packages on this host, without recommended ones. No service is started: the programs wanted here
 * have none, and should something they depend on have one, SYSTEMD_OFFLINE makes systemctl leave it alone.
 *
 * @throws when apt fails; the message ends with its last lines
 */
export async function installPackages(
  names: readonly string[],
  signal?: AbortSignal,
  onLine?: (line: string) => void,
): Promise<void> {
  if (names.length === 0) return;
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive", SYSTEMD_OFFLINE: "1", NEEDRESTART_SUSPEND: "1" };
  const options = ["-y", "-q", "-o", "DPkg::Lock::Timeout=300", "-o", "APT::Install-Recommends=false"];
  const once = (argv: string[]): Promise<string> =>
    run(["apt-get", ...options, ...argv], { timeoutMs: APT_TIMEOUT_MS, signal, env, ...(onLine ? { onLine } : {}) });
  // apt waits for dpkg's lock, but not for that of the package lists, which another apt may hold just now.
  const apt = async (...argv: string[]): Promise<string> => {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await once(argv);
      } catch (error) {
        const busy = error instanceof CommandError && /Could not get lock|Unable to lock/.test(error.tail);
        if (!busy || attempt === LOCK_ATTEMPTS) throw error;
        await sleep(LOCK_PAUSE_MS, undefined, { signal });
      }
    }
  };
  try {
    await apt("install", ...names).catch(async (error: unknown) => {
      if (signal?.aborted) throw error;
      // Package lists that are old or were never fetched.
      await apt("update");
      await apt("install", ...names);
    });
  } catch (error) {
    signal?.throwIfAborted();
    const why = error instanceof Error ? error.message : String(error);
    throw new Error(
      `${names.join(" and ")} could not be installed: run "apt-get install ${names.join(" ")}" yourself, then start again\n${why}`,
      { cause: error },
    );
  }
}

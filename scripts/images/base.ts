/**
 * The base image, `debian:trixie-slim` in content, made from Debian's packages by mmdebstrap where no registry is
 * asked. It is made once and kept; a refresh makes it anew, which is how security updates arrive.
 */
import { createHash } from "node:crypto";
import { mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { hostApt } from "./apt.ts";
import { exists, hashFile, type CachePaths } from "./cache.ts";
import { run } from "./run.ts";
import { BASE_SUITE, SOURCE_DATE_EPOCH } from "./specs.ts";

/** A base image in the cache. */
export interface Base {
  /** Hash of its content and of the package lists it was made from: new packages upstream give another identity. */
  id: string;
  /** Root file system. */
  tar: string;
  /** Mirrors for builds on it; mounted during the build, in no image. */
  sources: string;
}

/**
 * Smaller as Debian's slim images are: no manuals, no documentation but the licences, no translations. dpkg need not
 * sync every file: a build that dies is thrown away.
 */
const DPKG_OPTIONS = [
  "force-unsafe-io",
  "path-exclude=/usr/share/doc/*",
  "path-include=/usr/share/doc/*/copyright",
  "path-exclude=/usr/share/info/*",
  "path-exclude=/usr/share/lintian/*",
  "path-exclude=/usr/share/linda/*",
  "path-exclude=/usr/share/locale/*",
  "path-exclude=/usr/share/man/*",
  "path-exclude=/usr/share/groff/*",
];

/** Device nodes are left out: they come with the container, and an engine without root could not unpack them. */
const MMDEBSTRAP_OPTIONS = ["--mode=root", "--variant=minbase", "--architectures=amd64", "--skip=output/dev"];

/** The same for apt; kept in the image, where it is harmless. */
const APT_SETTINGS = ['Acquire::Languages "none";', 'APT::Install-Recommends "false";'];

/**
 * Last steps inside the new root ($1). $IAM_OUT takes what the host keeps: the hash of the package lists, and the
 * mirrors, which are then taken out of the image. Two empty files are where builds mount the host's apt settings.
 */
const FINISH = [
  'cat "$1"/var/lib/apt/lists/*_Packages* | sha256sum | cut -d" " -f1 > "$IAM_OUT/lists"',
  'cat "$1"/etc/apt/sources.list "$1"/etc/apt/sources.list.d/*.list > "$IAM_OUT/sources.list" 2>/dev/null || test -s "$IAM_OUT/sources.list"',
  'rm -f "$1"/etc/apt/sources.list.d/* "$1"/etc/apt/apt.conf.d/99mmdebstrap "$1"/etc/resolv.conf "$1"/etc/hostname',
  ': > "$1"/etc/apt/sources.list',
  ': > "$1"/etc/apt/apt.conf',
  `printf '%s\\n' ${APT_SETTINGS.map((line) => `'${line}'`).join(" ")} > "$1"/etc/apt/apt.conf.d/slim`,
  'printf "#!/bin/sh\\nexit 101\\n" > "$1"/usr/sbin/policy-rc.d && chmod 0755 "$1"/usr/sbin/policy-rc.d',
];

const TIMEOUT_MS = 20 * 60_000;

/** What the base is made of, as a name: another recipe is another base. */
export function baseRecipe(): string {
  const recipe = JSON.stringify([BASE_SUITE, SOURCE_DATE_EPOCH, MMDEBSTRAP_OPTIONS, DPKG_OPTIONS, FINISH]);
  return createHash("sha256").update(recipe).digest("hex").slice(0, 12);
}

/** The base in the cache; undefined when it is still to be made. */
export async function findBase(paths: CachePaths): Promise<Base | undefined> {
  const folder = join(paths.base, baseRecipe());
  const id = await readFile(join(folder, "id"), "utf8").catch(() => undefined);
  if (id === undefined || !(await exists(join(folder, "base.tar")))) return undefined;
  return { id: id.trim(), tar: join(folder, "base.tar"), sources: join(folder, "sources.list") };
}

/**
 * Makes the base and puts it into the cache, in the place of an older one.
 *
 * @throws when mmdebstrap fails, most often for want of a mirror; the message has its last lines
 */
export async function makeBase(
  paths: CachePaths,
  signal: AbortSignal | undefined,
  onLine: (line: string) => void,
): Promise<Base> {
  const work = join(paths.work, "base");
  const out = join(work, "out");
  const temporary = join(work, "tmp");
  await rm(work, { recursive: true, force: true });
  await mkdir(out, { recursive: true, mode: 0o700 });
  // mmdebstrap unpacks here as apt's own user too.
  await mkdir(temporary, { mode: 0o755 });

  const host = await hostApt(BASE_SUITE);
  // Settings and mirrors go by file: either may carry a password, which has no place in a process list.
  const settings = join(work, "apt.conf");
  await writeFile(settings, [...APT_SETTINGS, ...host.settings, ""].join("\n"), { mode: 0o600 });
  const mirror = join(work, "sources.list");
  await writeFile(mirror, [...host.sources, ""].join("\n"), { mode: 0o600 });

  const tar = join(out, "base.tar");
  await run(
    [
      "mmdebstrap",
      ...MMDEBSTRAP_OPTIONS,
      `--aptopt=${settings}`,
      ...DPKG_OPTIONS.map((option) => `--dpkgopt=${option}`),
      ...FINISH.map((step) => `--customize-hook=${step}`),
      BASE_SUITE,
      tar,
      ...(host.sources.length > 0 ? [mirror] : []),
    ],
    {
      timeoutMs: TIMEOUT_MS,
      signal,
      contained: true,
      onLine,
      env: { ...process.env, IAM_OUT: out, SOURCE_DATE_EPOCH: String(SOURCE_DATE_EPOCH), TMPDIR: temporary },
    },
  );

  const lists = await readFile(join(out, "lists"), "utf8");
  const id = createHash("sha256")
    .update(`${await hashFile(tar)} ${lists}`)
    .digest("hex");
  await writeFile(join(out, "id"), `${id}\n`);
  const folder = join(paths.base, baseRecipe());
  await rm(folder, { recursive: true, force: true });
  await rename(out, folder);
  await rm(work, { recursive: true, force: true });
  const base = await findBase(paths);
  if (base === undefined)
    throw new Error(`the base image is not in ${folder} though it was just made: is somebody emptying the cache?`);
  return base;
}

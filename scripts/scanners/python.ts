import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { hash, readIfThere, withLock } from "../local/effects/files.ts";
import { run } from "../local/effects/run.ts";

/** Names every package in its version with the hashes of its files; made from requirements.in. */
const REQUIREMENTS = join(import.meta.dirname, "python/requirements.txt");

/** Milliseconds for the installation; it takes a minute. */
const LIMIT = 10 * 60_000;

/** Installs the scanners that are Python packages into an environment of their own, unless it is in the cache.
 *  @returns the folder of their programs
 *  @throws Error when Python (with venv) is missing, a package can't be had, or is not the one that is named */
export async function ensurePython(cache: string, signal: AbortSignal): Promise<string> {
  const requirements = await readFile(REQUIREMENTS, "utf8");
  const version = (await run("python3", ["--version"], { signal })).trim();
  // Programs of an environment name their own place: it is made where it stays, and whole when the last file is there.
  const folder = join(cache, "python", `scanners-${hash(version, requirements).slice(0, 12)}`);
  const complete = join(folder, "complete");
  const programs = join(folder, "bin");
  if ((await readIfThere(complete)) !== undefined) return programs;
  await mkdir(join(cache, "python"), { recursive: true });
  await withLock(`${folder}.lock`, { signal, timeout: LIMIT }, async () => {
    if ((await readIfThere(complete)) !== undefined) return;
    await rm(folder, { recursive: true, force: true });
    await run("python3", ["-m", "venv", folder], { signal, timeout: LIMIT });
    const pip = [join(programs, "pip"), "--quiet", "--disable-pip-version-check", "--no-input", "install"];
    const exactly = ["--require-hashes", "--no-deps", "--only-binary", ":all:", "--requirement", REQUIREMENTS];
    await run("nice", ["-n", "15", ...pip, ...exactly], { signal, timeout: LIMIT });
    await writeFile(complete, `${version}\n`);
  });
  return programs;
}

import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { programImage } from "../plan/archive.ts";
import type { Programs } from "../plan/configs.ts";
import type { RegionPlan } from "../plan/regions.ts";
import { exists, hash } from "./files.ts";
import { run } from "./run.ts";

/** An image in an archive, as `docker save` or `buildah push docker-archive:` writes it. */
export interface ImageArchive {
  /** Full reference, as pods name it. Its tag stands for its content: what is there under it is not imported again. */
  readonly ref: string;
  /** Path of the archive. */
  readonly tar: string;
}

/** Images of the cluster itself are made of programs that were just built, so they need no base and no builder. */
export async function programArchive(options: {
  readonly cache: string;
  readonly name: string;
  /** Folder of the build; its name tells the content. */
  readonly build: string;
  readonly path: string;
}): Promise<ImageArchive> {
  const tag = hash("program image 2", basename(options.build), options.path).slice(0, 12);
  const ref = `localhost/iam-ha/${options.name}:${tag}`;
  const tar = join(options.cache, "images", `${options.name}-${tag}.tar`);
  if (await exists(tar)) return { ref, tar };
  const program = await readFile(join(options.build, basename(options.path)));
  await mkdir(dirname(tar), { recursive: true });
  const temporary = `${tar}.${process.pid}.new`;
  await writeFile(temporary, programImage({ reference: ref, path: options.path, program, user: "10001:10001" }));
  await rename(temporary, tar);
  return { ref, tar };
}

/** A large image on a slow disk that others use as well. */
const IMPORT_TIMEOUT = 10 * 60_000;

/**
 * Imports what a region's containerd does not have complete and unpacked. Several are imported at once: one unpacks
 * while another reads.
 *
 * @returns the references that were imported.
 */
export async function importArchives(
  plan: RegionPlan,
  programs: Pick<Programs, "ctr">,
  archives: readonly ImageArchive[],
  options: { readonly signal?: AbortSignal; readonly onImported?: (ref: string) => void } = {},
): Promise<readonly string[]> {
  const ctr = (args: readonly string[], timeout?: number) =>
    run(programs.ctr, ["--address", plan.containerdSocket, "--namespace", "k8s.io", "images", ...args], {
      signal: options.signal,
      timeout,
    });
  const ready = new Set((await ctr(["check", "--quiet"])).split("\n").map((line) => line.trim()));
  const missing = archives.filter(({ ref }) => !ready.has(ref));
  await Promise.all(
    missing.map(async ({ ref, tar }) => {
      await ctr(["import", tar], IMPORT_TIMEOUT);
      const now = await ctr(["list", "--quiet", `name==${ref}`]);
      if (now.trim() !== ref) {
        throw new Error(`${tar} holds no image ${ref}: build it again, or name the reference that it holds.`);
      }
      options.onImported?.(ref);
    }),
  );
  return missing.map(({ ref }) => ref);
}

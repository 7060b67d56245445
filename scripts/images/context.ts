/**
 * Build contexts: which files an image is built from, and a folder with exactly these for the engine.
 */
import { createHash } from "node:crypto";
import { chmod, copyFile, lstat, mkdir, readdir, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { bundle, nodeRuntime, type BundleEntry } from "./bundles.ts";
import { hashFile, hashLargeFile, type CachePaths } from "./cache.ts";
import type { ContextFile } from "./plan.ts";
import type { ImageSpec } from "./specs.ts";

/** A file of a context and where its content comes from. */
export interface ContextEntry extends ContextFile {
  source: { path: string } | { contents: Uint8Array };
}

/** A context, and the build arguments that its content decides. */
export interface BuildContext {
  entries: ContextEntry[];
  buildArgs: Record<string, string>;
}

/** What `dist/` is generated into; whatever lies there belongs to a user's own docker build. */
const GENERATED = "dist";

/**
 * Collects the context of an image.
 *
 * @throws when the image's folder is missing or holds something else than files and folders
 */
export async function collectContext(
  root: string,
  spec: ImageSpec,
  paths: CachePaths,
  bundles?: readonly BundleEntry[],
): Promise<BuildContext> {
  const folder = join(root, "images", spec.name);
  const entries = await filesIn(folder, "");
  const buildArgs = { ...spec.buildArgs };
  if (spec.bundles) {
    const runtime = await nodeRuntime(root);
    buildArgs["NODE_VERSION"] = runtime.version;
    entries.push({
      path: `${GENERATED}/node`,
      executable: true,
      sha256: await hashLargeFile(paths, runtime.path),
      source: { path: runtime.path },
    });
    for (const { path, contents } of await bundle(root, bundles)) {
      const sha256 = createHash("sha256").update(contents).digest("hex");
      entries.push({ path: `${GENERATED}/app/${path}`, executable: false, sha256, source: { contents } });
    }
  }
  return { entries, buildArgs };
}

async function filesIn(folder: string, prefix: string): Promise<ContextEntry[]> {
  const entries: ContextEntry[] = [];
  for (const name of await readdir(folder).catch(() => [])) {
    const path = prefix === "" ? name : `${prefix}/${name}`;
    if (path === GENERATED) continue;
    const file = join(folder, name);
    const info = await lstat(file);
    if (info.isDirectory()) entries.push(...(await filesIn(file, path)));
    else if (info.isFile())
      entries.push({
        path,
        executable: (info.mode & 0o100) !== 0,
        sha256: await hashFile(file),
        source: { path: file },
      });
    else throw new Error(`${file} is neither a file nor a folder, and can't be part of an image: replace it by a file`);
  }
  return entries;
}

/** Writes a context into a folder, which is emptied first. Modes are set, so the builder's umask decides nothing. */
export async function writeContext(entries: readonly ContextEntry[], folder: string): Promise<void> {
  await rm(folder, { recursive: true, force: true });
  for (const { path, executable, source } of entries) {
    const file = join(folder, path);
    await mkdir(dirname(file), { recursive: true, mode: 0o755 });
    if ("path" in source) await copyFile(source.path, file);
    else await writeFile(file, source.contents);
    await chmod(file, executable ? 0o755 : 0o644);
  }
}

/** Fills `images/<name>/dist/` for a user's own `docker build`; gives the folder. */
export async function writeGenerated(root: string, context: BuildContext, name: string): Promise<string> {
  const folder = join(root, "images", name, GENERATED);
  const generated = context.entries.filter(({ path }) => path.startsWith(`${GENERATED}/`));
  await writeContext(
    generated.map((entry) => ({ ...entry, path: entry.path.slice(GENERATED.length + 1) })),
    folder,
  );
  return folder;
}

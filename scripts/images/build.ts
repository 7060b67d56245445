/**
 * Builds the images that are not in the cache yet.
 */
import { mkdir, readdir, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { installPackages, missingPackages } from "./apt.ts";
import { baseRecipe, findBase, makeBase, type Base } from "./base.ts";
import { cachePaths, emptyFolder, exists, freeBytes, prepareCache, withLock, type CachePaths } from "./cache.ts";
import { collectContext, writeContext, type BuildContext } from "./context.ts";
import { Engine } from "./engine.ts";
import { archiveName, contentTag, localReference, stepOf } from "./plan.ts";
import { selectSpecs, type ImageSpec } from "./specs.ts";

/** Progress of a build. */
export interface ImageProgress {
  /** The image, or "base" for what comes before all of them. */
  image: string;
  step: "wait" | "install" | "base" | "build" | "export" | "cached" | "done";
  /** What is being done just now; free text. */
  detail?: string;
  /** 0 to 1, of this image. */
  fraction?: number;
}

export interface BuildImagesOptions {
  /** Images to build; all of them by default. */
  names?: readonly string[];
  onProgress?: (event: ImageProgress) => void;
  signal?: AbortSignal;
  /** Make the base image anew first, with today's packages: then every image is built again. Default false. */
  refresh?: boolean;
  /** Root of the project; by default the one this file is part of. */
  root?: string;
  /** Default: see cachePaths(). */
  paths?: CachePaths;
}

/** An image in the cache. */
export interface BuiltImage {
  name: string;
  /** Reference, with the content hash as its tag: `localhost/iam-ha/<name>:<12 hex>`. */
  ref: string;
  /** Docker archive, whole and never changed: for `ctr image import`, `docker load`, `podman load`. */
  tar: string;
}

/** What the storage, the base and the archives of one build need at most, with room to spare. */
const MIN_FREE_BYTES = 6 * 2 ** 30;

/** A cold build by another process may take this long. */
const LOCK_TIMEOUT_MS = 30 * 60_000;

const ROOT = join(dirname(fileURLToPath(import.meta.url)), "../..");

interface Target {
  spec: ImageSpec;
  context: BuildContext;
  image: BuiltImage;
}

/**
 * Gives the images named (default: all), building those whose inputs have no archive in the cache yet. May be killed
 * at any moment: the next call goes on.
 *
 * @throws with one clear sentence when the machine can't build, an image is unknown, or a build fails
 */
export async function buildImages(options: BuildImagesOptions = {}): Promise<BuiltImage[]> {
  const specs = selectSpecs(options.names);
  const root = options.root ?? ROOT;
  const paths = options.paths ?? cachePaths();
  const { signal } = options;
  const onProgress = options.onProgress ?? (() => undefined);
  signal?.throwIfAborted();

  // The common case first, without lock or engine: everything is there.
  const known = options.refresh === true ? undefined : await findBase(paths);
  if (known !== undefined) {
    await prepareCache(paths);
    const targets = await planTargets(specs, known, root, paths);
    if ((await missingOf(targets)).length === 0) return finish(targets, new Set(), onProgress);
  }

  await checkMachine(paths);
  await prepareCache(paths);
  const onWait = (): void => onProgress({ image: "base", step: "wait", detail: "another build of images is running" });
  return withLock(paths, LOCK_TIMEOUT_MS, signal, onWait, async () => {
    await emptyFolder(paths.work);
    const packages = await missingPackages();
    if (packages.length > 0) {
      onProgress({ image: "base", step: "install", detail: packages.join(", ") });
      await installPackages(packages, signal);
    }
    const base = await haveBase(paths, options, onProgress);
    // Again under the lock: another process may have built some of them meanwhile.
    const targets = await planTargets(specs, base, root, paths);
    const missing = await missingOf(targets);
    if (missing.length > 0) {
      const engine = new Engine(paths, signal);
      await engine.open();
      const baseReference = await engine.importBase(base);
      for (const target of missing) await buildOne(target, engine, base, baseReference, paths, onProgress);
    }
    await emptyFolder(paths.work);
    return finish(targets, new Set(missing.map(({ image }) => image.name)), onProgress);
  });
}

async function haveBase(
  paths: CachePaths,
  options: BuildImagesOptions,
  onProgress: (event: ImageProgress) => void,
): Promise<Base> {
  const found = options.refresh === true ? undefined : await findBase(paths);
  if (found !== undefined) return found;
  let lines = 0;
  return makeBase(paths, options.signal, (line) => {
    // mmdebstrap tells its stages in lines that begin with "I: ": about a dozen.
    if (!line.startsWith("I: ")) return;
    lines += 1;
    onProgress({ image: "base", step: "base", detail: line.slice(3, 80), fraction: Math.min(0.95, lines / 16) });
  });
}

async function planTargets(
  specs: readonly ImageSpec[],
  base: Base,
  root: string,
  paths: CachePaths,
): Promise<Target[]> {
  return Promise.all(
    specs.map(async (spec) => {
      const context = await collectContext(root, spec, paths);
      const tag = contentTag({ name: spec.name, base: base.id, buildArgs: context.buildArgs, files: context.entries });
      return {
        spec,
        context,
        image: {
          name: spec.name,
          ref: localReference(spec.name, tag),
          tar: join(paths.archives, archiveName(spec.name, tag)),
        },
      };
    }),
  );
}

async function missingOf(targets: readonly Target[]): Promise<Target[]> {
  const missing: Target[] = [];
  for (const target of targets) if (!(await exists(target.image.tar))) missing.push(target);
  return missing;
}

async function buildOne(
  target: Target,
  engine: Engine,
  base: Base,
  baseReference: string,
  paths: CachePaths,
  onProgress: (event: ImageProgress) => void,
): Promise<void> {
  const { name, ref, tar } = target.image;
  onProgress({ image: name, step: "build", detail: target.spec.holds, fraction: 0 });
  const folder = join(paths.work, name);
  await writeContext(target.context.entries, join(folder, "context"));
  await engine.build(
    { context: join(folder, "context"), reference: ref, buildArgs: target.context.buildArgs },
    base,
    baseReference,
    (line) => {
      const step = stepOf(line);
      // The last tenth is the export.
      if (step !== undefined)
        onProgress({ image: name, step: "build", detail: step.detail, fraction: step.fraction * 0.9 });
    },
  );
  onProgress({ image: name, step: "export", fraction: 0.9 });
  const partial = join(folder, "image.tar");
  await mkdir(folder, { recursive: true });
  await engine.export(ref, partial);
  await rename(partial, tar);
  await rm(folder, { recursive: true, force: true });
  onProgress({ image: name, step: "done", fraction: 1 });
}

function finish(
  targets: readonly Target[],
  built: ReadonlySet<string>,
  onProgress: (event: ImageProgress) => void,
): BuiltImage[] {
  for (const { image } of targets)
    if (!built.has(image.name)) onProgress({ image: image.name, step: "cached", fraction: 1 });
  return targets.map(({ image }) => image);
}

async function checkMachine(paths: CachePaths): Promise<void> {
  if (process.platform !== "linux" || process.arch !== "x64") {
    throw new Error(
      `images are built on Linux on x86_64, this is ${process.platform} on ${process.arch}: build them elsewhere and name their references in the config`,
    );
  }
  if (process.getuid?.() !== 0)
    throw new Error(
      "building images needs root, this is an ordinary user: start again with sudo, or build with podman (docs/images.md)",
    );
  await mkdir(paths.root, { recursive: true, mode: 0o700 });
  const free = await freeBytes(paths.root);
  if (free < MIN_FREE_BYTES) {
    throw new Error(
      `building images needs ${MIN_FREE_BYTES / 2 ** 30} GiB free in ${paths.root}, there are ${(free / 2 ** 30).toFixed(1)}: free some space, or set XDG_CACHE_HOME to another disk`,
    );
  }
}

/** The images as the sources are now, and whether each is in the cache; undefined while there is no base yet. */
export async function listImages(
  options: Pick<BuildImagesOptions, "names" | "root" | "paths"> = {},
): Promise<(BuiltImage & { built: boolean })[] | undefined> {
  const paths = options.paths ?? cachePaths();
  const base = await findBase(paths);
  if (base === undefined) return undefined;
  await prepareCache(paths);
  const targets = await planTargets(selectSpecs(options.names), base, options.root ?? ROOT, paths);
  return Promise.all(targets.map(async ({ image }) => ({ ...image, built: await exists(image.tar) })));
}

/** Removes archives and images of earlier inputs; gives the names of the archives. What the sources need now stays. */
export async function pruneImages(
  options: Pick<BuildImagesOptions, "root" | "paths" | "signal"> = {},
): Promise<string[]> {
  const paths = options.paths ?? cachePaths();
  const current = await listImages(options);
  if (current === undefined) return [];
  return withLock(
    paths,
    LOCK_TIMEOUT_MS,
    options.signal,
    () => undefined,
    async () => {
      const keep = new Set(current.map(({ tar }) => tar));
      const old = (await readdir(paths.archives)).filter((name) => !keep.has(join(paths.archives, name)));
      for (const name of old) await rm(join(paths.archives, name), { force: true });
      for (const name of await readdir(paths.base)) {
        if (name !== baseRecipe()) await rm(join(paths.base, name), { recursive: true, force: true });
      }
      if ((await missingPackages()).length === 0) {
        const engine = new Engine(paths, options.signal);
        await engine.open();
        const references = new Set(current.map(({ ref }) => ref));
        const base = await findBase(paths);
        await engine.remove(
          (await engine.references()).filter(
            (ref) => !references.has(ref) && !(base !== undefined && ref.endsWith(base.id.slice(0, 12))),
          ),
        );
      }
      return old;
    },
  );
}

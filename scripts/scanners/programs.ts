import { mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { hash, readIfThere, withLock } from "../local/effects/files.ts";
import { buildGo, type BuildOptions, type GoModule } from "../local/effects/gobuild.ts";
import { run } from "../local/effects/run.ts";
import { ensurePython } from "./python.ts";
import { schemasOf } from "./schemas.ts";

/** Its go.mod names the scanners as tools, its go.sum holds the hashes of all that they are made of. */
const SCANNERS: GoModule = { name: "scanners", source: join(import.meta.dirname, "go"), tools: true };

/** The module whose go.mod says which Kubernetes the embedded clusters run. */
const KUBE = join(import.meta.dirname, "../local/kube");

/** Milliseconds that all of it may take; the first time takes a minute and a half of two cores. */
const LIMIT = 15 * 60_000;

/** Paths of the scanners and of what they need. */
export interface Scanners {
  readonly actionlint: string;
  readonly kubeconform: string;
  readonly kubeScore: string;
  readonly checkov: string;
  readonly zizmor: string;
  /** Folder of JSON schemas of Kubernetes' own kinds. */
  readonly schemas: string;
  /** Version of that Kubernetes: `1.34.4`. */
  readonly kubernetes: string;
}

/** Builds the scanners and makes the schemas, unless they are in the cache.
 *  @throws Error when Go or Python is missing, or what they need can't be had */
export async function ensureScanners(options: BuildOptions): Promise<Scanners> {
  const limit = AbortSignal.timeout(LIMIT);
  const signal = options.signal ? AbortSignal.any([options.signal, limit]) : limit;
  const built = await buildGo(SCANNERS, { ...options, signal, nice: true });
  const { folder, version } = await ensureSchemas(options.cache, signal);
  options.onProgress?.("scanners: Python packages");
  const python = await ensurePython(options.cache, signal);
  return {
    actionlint: join(built, "actionlint"),
    kubeconform: join(built, "kubeconform"),
    kubeScore: join(built, "kube-score"),
    checkov: join(python, "checkov"),
    zizmor: join(python, "zizmor"),
    schemas: folder,
    kubernetes: version,
  };
}

/** The schemas of the Kubernetes that the embedded clusters are built from: its sources hold the OpenAPI document. */
async function ensureSchemas(cache: string, signal: AbortSignal): Promise<{ folder: string; version: string }> {
  // What is downloaded is held against go.sum.
  const env = { ...process.env, GOFLAGS: "-mod=readonly", GOWORK: "off" };
  const text = await run("go", ["mod", "download", "-json", "k8s.io/kubernetes"], {
    cwd: KUBE,
    env,
    signal,
    timeout: LIMIT,
  });
  const { Dir, Sum, Version } = JSON.parse(text) as { Dir: string; Sum: string; Version: string };
  const converter = await readFile(join(import.meta.dirname, "schemas.ts"), "utf8");
  const folder = join(cache, "schemas", `kubernetes-${Version}-${hash(Sum, converter).slice(0, 12)}`);
  const found = { folder, version: Version.replace(/^v/, "") };
  if ((await readIfThere(join(folder, "complete"))) !== undefined) return found;
  await mkdir(join(cache, "schemas"), { recursive: true });
  await withLock(`${folder}.lock`, { signal, timeout: LIMIT }, async () => {
    if ((await readIfThere(join(folder, "complete"))) !== undefined) return;
    const temporary = `${folder}.new`;
    await rm(temporary, { recursive: true, force: true });
    await mkdir(temporary);
    const openapi: unknown = JSON.parse(await readFile(join(Dir, "api/openapi-spec/swagger.json"), "utf8"));
    for (const [name, schema] of Object.entries(schemasOf(openapi as Parameters<typeof schemasOf>[0])))
      await writeFile(join(temporary, name), JSON.stringify(schema));
    await writeFile(join(temporary, "complete"), `${Sum}\n`);
    await rm(folder, { recursive: true, force: true });
    await rename(temporary, folder);
  });
  return found;
}

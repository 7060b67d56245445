import { cp, mkdir, readdir, readFile, rename, rm, symlink } from "node:fs/promises";
import { join } from "node:path";
import { hash, readIfThere, withLock } from "./files.ts";
import { run } from "./run.ts";

export interface GoModule {
  /** Name of the program and of its folder in the cache. */
  readonly name: string;
  /** Folder with go.mod, go.sum and the sources. */
  readonly source: string;
  /** Names under which a program that looks at its own name is linked beside it. Default none. */
  readonly links?: readonly string[];
  /** Whether go.mod's tools are built, each under its own name, and not the folder's program. Default no. */
  readonly tools?: boolean;
  /** Gives the linker variables to set, from the text of go.mod; `path/of/package.name` to value. Default none. */
  readonly variables?: (goMod: string) => Readonly<Record<string, string>>;
}

export interface BuildOptions {
  readonly cache: string;
  readonly signal?: AbortSignal;
  readonly onProgress?: (detail: string, fraction?: number) => void;
  /** Whether the compiler steps back behind everything else on the machine. Default no. */
  readonly nice?: boolean;
}

/** Flags of a build that is the same on every machine. */
async function buildFlags(module: GoModule): Promise<readonly string[]> {
  const variables = module.variables?.(await readFile(join(module.source, "go.mod"), "utf8")) ?? {};
  const settings = Object.entries(variables).map(([name, value]) => ` -X ${name}=${value}`);
  return ["-mod=readonly", "-trimpath", "-buildvcs=false", `-ldflags=-s -w${settings.join("")}`];
}

/** A first build of Kubernetes takes five minutes with two cores; one on a slow disk and a slow network, much longer. */
const BUILD_TIMEOUT = 60 * 60_000;

/**
 * Builds a Go program unless this very one was built before: what counts is the content of its sources and the version
 * of Go.
 *
 * @returns the folder with the program and its links, or with the tools.
 */
export async function buildGo(module: GoModule, options: BuildOptions): Promise<string> {
  const env = { ...process.env, CGO_ENABLED: "0", GOFLAGS: "", GOWORK: "off" };
  const goVersion = (await run("go", ["env", "GOVERSION"], { cwd: module.source, env, signal: options.signal })).trim();
  const folder = await buildFolder(module, options.cache, goVersion);
  // The folder gets its name only when all is in it, so its being there is enough.
  if ((await readIfThere(join(folder, "complete"))) !== undefined) return folder;
  await withLock(
    `${folder}.lock`,
    {
      signal: options.signal,
      timeout: BUILD_TIMEOUT,
      onWait: () => options.onProgress?.(`waiting for another build of ${module.name}`),
    },
    async () => {
      if ((await readIfThere(join(folder, "complete"))) !== undefined) return;
      const temporary = `${folder}.new`;
      await rm(temporary, { recursive: true, force: true });
      await rm(folder, { recursive: true, force: true });
      await mkdir(temporary, { recursive: true });
      // A path that ends with a slash is a folder to the compiler.
      await compile(module, module.tools ? `${temporary}/` : join(temporary, module.name), env, options);
      for (const link of module.links ?? []) await symlink(module.name, join(temporary, link));
      await cp(join(module.source, "go.mod"), join(temporary, "complete"));
      await rename(temporary, folder);
    },
  );
  options.onProgress?.(`${module.name}: built`, 1);
  return folder;
}

/** Whether the build is in the cache. */
export async function isBuilt(module: GoModule, cache: string, goVersion: string): Promise<boolean> {
  return (await readIfThere(join(await buildFolder(module, cache, goVersion), "complete"))) !== undefined;
}

async function buildFolder(module: GoModule, cache: string, goVersion: string): Promise<string> {
  const [flags, files] = await Promise.all([buildFlags(module), sources(module.source)]);
  const key = hash(goVersion, flags.join("\0"), (module.links ?? []).join("\0"), ...files);
  return join(cache, "go", `${module.name}-${key.slice(0, 12)}`);
}

async function compile(module: GoModule, output: string, env: NodeJS.ProcessEnv, options: BuildOptions): Promise<void> {
  const [program, ...before] = options.nice ? ["nice", "-n", "15", "go"] : ["go"];
  const go = (args: readonly string[], onLine?: (line: string) => void) =>
    run(program, [...before, ...args], {
      cwd: module.source,
      env,
      signal: options.signal,
      timeout: BUILD_TIMEOUT,
      onLine,
    });
  const target = module.tools ? "tool" : ".";
  options.onProgress?.(`${module.name}: getting modules`, 0);
  const listed = await go(["list", "-deps", "-f", "{{.ImportPath}}", target], (line) => {
    if (line.startsWith("go: downloading")) options.onProgress?.(`${module.name}: ${line.slice(4)}`, 0);
  });
  const total = listed.trim().split("\n").length;
  let compiled = 0;
  // With -v the compiler names each package as it comes to it; those it finds in its own cache it leaves out.
  await go(["build", "-v", ...(await buildFlags(module)), "-o", output, target], (line) => {
    if (line.startsWith("go: ") || line.includes(" ")) return;
    compiled += 1;
    options.onProgress?.(`${module.name}: compiling ${line}`, Math.min(0.99, compiled / total));
  });
}

/** Names and contents of the module's files that make the program, in a fixed order. */
async function sources(folder: string): Promise<string[]> {
  const names = (await readdir(folder, { recursive: true }))
    .filter((n) => n === "go.mod" || n === "go.sum" || (n.endsWith(".go") && !n.endsWith("_test.go")))
    .sort();
  const contents = await Promise.all(names.map((n) => readFile(join(folder, n), "utf8")));
  return names.flatMap((n, i) => [n, contents[i]!]);
}

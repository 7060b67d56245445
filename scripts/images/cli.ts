/**
 * `node scripts/images/cli.ts build [names] | list | context | prune`: for developers; `npm start` calls the functions.
 */
import { stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { Command } from "commander";
import { buildImages, listImages, pruneImages, type ImageProgress } from "./build.ts";
import { cachePaths, prepareCache } from "./cache.ts";
import { collectContext, writeGenerated } from "./context.ts";
import { IMAGES } from "./specs.ts";

const root = join(dirname(fileURLToPath(import.meta.url)), "../..");

const abort = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => abort.abort(new Error("stopped")));

const print = (line: string): boolean => process.stdout.write(`${line}\n`);
const tell = (line: string): boolean => process.stderr.write(`${line}\n`);

/** One line a step; a terminal's finer picture is the start command's. */
function printer(): (event: ImageProgress) => void {
  const begin = performance.now();
  let last = "";
  return ({ image, step, detail, fraction }) => {
    const percent = fraction === undefined ? "" : ` ${Math.round(fraction * 100)} %`;
    const line = `${image.padEnd(10)} ${step}${percent}${detail === undefined ? "" : `  ${detail}`}`;
    if (line === last) return;
    last = line;
    tell(`${((performance.now() - begin) / 1000).toFixed(1).padStart(6)} s  ${line}`);
  };
}

const program = new Command("images").description("Build the container images of this project without a registry.");

program
  .command("build [names...]")
  .description("build what is not in the cache; prints reference and archive of each")
  .option("--refresh", "make the base image anew, with today's packages", false)
  .action(async (names: string[], { refresh }: { refresh: boolean }) => {
    for (const { ref, tar } of await buildImages({ names, refresh, onProgress: printer(), signal: abort.signal })) {
      print(`${ref}\t${tar}`);
    }
  });

program
  .command("list")
  .description("references of the images as the sources are now, and their size where they are built")
  .action(async () => {
    const images = await listImages();
    if (images === undefined) print("nothing is built yet: node scripts/images/cli.ts build");
    for (const { ref, tar, built } of images ?? []) {
      print(`${ref}\t${built ? `${((await stat(tar)).size / 1e6).toFixed(0)} MB\t${tar}` : "not built"}`);
    }
  });

program
  .command("context")
  .description("fill images/node/dist/ for docker build or podman build")
  .action(async () => {
    const paths = cachePaths();
    await prepareCache(paths);
    for (const spec of IMAGES.filter(({ bundles }) => bundles)) {
      print(await writeGenerated(root, await collectContext(root, spec, paths), spec.name));
    }
  });

program
  .command("prune")
  .description("remove archives and layers of earlier inputs")
  .action(async () => {
    for (const name of await pruneImages({ signal: abort.signal })) print(`removed ${name}`);
  });

program.parseAsync().catch((error: unknown) => {
  tell(error instanceof Error ? error.message : String(error));
  process.exitCode = 1;
});

import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { ROOT } from "../paths.ts";
import { goldenFile, goldenText, GOLDENS } from "../render/goldens.ts";

/** Writes every golden anew; `git diff` then shows what a change of the program changes in the clusters. */
export async function goldens(): Promise<void> {
  for (const golden of GOLDENS) {
    const file = join(ROOT, goldenFile(golden));
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, await goldenText(golden));
    process.stdout.write(`${goldenFile(golden)}\n`);
  }
}

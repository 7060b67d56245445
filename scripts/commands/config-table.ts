import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ROOT } from "../paths.ts";
import { configMarkdown } from "../docs/config-markdown.ts";

const FILE = "docs/config.md";

/** Writes docs/config.md from the schema, or says that it is out of date.
 *  @throws Error when --check finds a difference */
export function configTable(options: { check: boolean }): void {
  const file = join(ROOT, FILE);
  const text = configMarkdown();
  if (!options.check) {
    writeFileSync(file, text);
    process.stdout.write(`${FILE}\n`);
  } else if (readFileSync(file, "utf8") !== text) {
    throw new Error(`${FILE} is not what the schema says: run \`npm run config-table\``);
  }
}

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { RULES_PAGE } from "../../policies/rule.ts";
import { policiesMarkdown } from "../docs/policies-markdown.ts";
import { ROOT } from "../paths.ts";

/** Writes docs/policies.md from the rules and the changes that prove them, or says that it is out of date.
 *  @throws Error when --check finds a difference */
export function policyDocs(options: { check: boolean }): void {
  const file = join(ROOT, RULES_PAGE);
  const text = policiesMarkdown();
  if (!options.check) {
    writeFileSync(file, text);
    process.stdout.write(`${RULES_PAGE}\n`);
  } else if (readFileSync(file, "utf8") !== text) {
    throw new Error(`${RULES_PAGE} is not what the rules say: run \`npm run policy-docs\``);
  }
}

import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { resourceRule, type Rule } from "../../policies/rule.ts";
import { ROOT } from "../../scripts/paths.ts";

/** Folders of packs that a test writes; `remove` takes them away. */
export class Packs {
  private made: string | undefined;
  private count = 0;

  /** A pack whose entry is this text. `policy` stands for the SDK, `writeFileSync` for Node's, `rule` for the project's own `policies/rule.ts`. */
  write(entry: string): string {
    const pack = this.empty();
    const imports = [
      'import { writeFileSync } from "node:fs";',
      'import * as policy from "@pulumi/policy";',
      `import * as rule from ${JSON.stringify(pathToFileURL(join(ROOT, "policies/rule.ts")).href)};`,
    ];
    writeFileSync(join(pack, "index.mjs"), [...imports, entry].join("\n"));
    writeFileSync(join(pack, "PulumiPolicy.yaml"), "runtime: nodejs\nmain: index.mjs\n");
    writeFileSync(join(pack, "package.json"), JSON.stringify({ version: "0.0.1", type: "module", main: "index.mjs" }));
    symlinkSync(join(ROOT, "node_modules"), join(pack, "node_modules"));
    return pack;
  }

  /** A pack of these policies, as its entry would write them. */
  of(...policies: readonly string[]): string {
    return this.write(`new policy.PolicyPack("test", { policies: [${policies.join(", ")}] });`);
  }

  /** A copy of the project's pack, with the rest of the project beside it. */
  copy(): string {
    const root = this.empty();
    for (const name of readdirSync(ROOT))
      if (name !== "policies" && name !== ".git") symlinkSync(join(ROOT, name), join(root, name));
    cpSync(join(ROOT, "policies"), join(root, "policies"), { recursive: true });
    return join(root, "policies");
  }

  /** Path of a file that a pack may write. */
  path(name: string): string {
    return join(this.folder, name);
  }

  remove(): void {
    if (this.made !== undefined) rmSync(this.made, { recursive: true, force: true });
  }

  /** Made when it is needed: what is not run leaves nothing behind. */
  private get folder(): string {
    return (this.made ??= mkdtempSync(join(tmpdir(), "iam-ha-packs-")));
  }

  private empty(): string {
    const folder = join(this.folder, String(++this.count));
    mkdirSync(folder);
    return folder;
  }
}

/** Rules that a test's pack has, as the runner has to know them. */
export function named(...names: readonly string[]): Rule[] {
  const text = { description: "a test", severity: "low", why: "a test", remediation: "none" } as const;
  return names.map((name) => resourceRule({ name, ...text, check: () => {} }));
}

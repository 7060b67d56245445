import { existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { ROOT } from "../../scripts/paths.ts";
import { writePrivate } from "../../scripts/private-file.ts";
import type { RegisteredResource } from "../../scripts/render/collect.ts";
import { PROJECT, readStackTree } from "../../scripts/render/stack-config.ts";
import { overlaysForShow } from "../../scripts/local/values/show.ts";
import { type LocalStack, localStack, runPulumi } from "../../scripts/start/pulumi-cli.ts";
import { configureStack } from "../../scripts/start/pulumi-stack.ts";

/** A preview of a busy machine: the engine, two providers, the program and the pack are processes of their own. */
const PREVIEW_LIMIT_MS = 5 * 60_000;

/** One violation, as the engine tells it. */
export interface EngineViolation {
  readonly rule: string;
  readonly level: string;
  /** What the rule reports, without its description. */
  readonly message: string;
}

/** How a preview ended. */
export interface Preview {
  /** End of the output of a preview that failed; undefined for one that passed. */
  readonly failure: string | undefined;
  readonly violations: readonly EngineViolation[];
  /** Rules that the engine has asked, whatever they said. */
  readonly asked: ReadonlySet<string>;
  /** Types of what the preview would make. */
  readonly made: readonly string[];
}

export interface PreviewOptions {
  /** Folder of the pack; default: the project's. */
  readonly pack?: string;
  /** What is given as `--policy-pack-config`. */
  readonly config?: unknown;
  /** Variables over the stack's own. */
  readonly env?: NodeJS.ProcessEnv;
}

/** A stack of the real engine with its state in a folder of this machine, and no cluster: the Kubernetes provider
 *  previews without one, and gives inputs back as they are. */
export class EngineStack {
  private readonly stack: LocalStack;
  private readonly folder: string;
  private readonly region: string;
  private count = 0;

  /** @param folder private (0700); the caller takes it away */
  constructor(region: string, folder: string) {
    const stack = localStack("policies", region, folder, false);
    this.region = region;
    this.folder = folder;
    this.stack = {
      ...stack,
      env: { ...stack.env, KUBECONFIG: join(folder, "no-cluster"), PULUMI_DEBUG_COMMANDS: "true" },
    };
  }

  /** Makes the stack, with the region's config as in production and placeholders for passwords. */
  async make(): Promise<void> {
    const config = readStackTree(this.region, overlaysForShow(this.region, { embedded: false }));
    await configureStack(this.stack, config, new AbortController().signal, () => {});
  }

  /** Previews the project's own program. */
  previewProgram(options: PreviewOptions = {}): Promise<Preview> {
    return this.preview(ROOT, {}, options);
  }

  /** Previews a program that registers these resources. */
  previewOf(resources: readonly RegisteredResource[], options: PreviewOptions = {}): Promise<Preview> {
    const file = join(this.folder, "resources.json");
    writePrivate(file, JSON.stringify(resources));
    return this.preview(this.project(), { IAM_HA_RESOURCES: file }, options);
  }

  private async preview(cwd: string, env: NodeJS.ProcessEnv, options: PreviewOptions): Promise<Preview> {
    const log = join(this.folder, `events-${this.region}-${++this.count}.json`);
    const args = ["preview", "--stack", this.stack.name, "--cwd", cwd, "--event-log", log];
    args.push("--policy-pack", options.pack ?? join(ROOT, "policies"));
    if (options.config !== undefined) {
      const file = join(this.folder, "policy-config.json");
      writeFileSync(file, JSON.stringify(options.config));
      args.push("--policy-pack-config", file);
    }
    const stack = { ...this.stack, env: { ...this.stack.env, ...env, ...options.env } };
    try {
      const failure = await runPulumi(stack, args, { timeoutMs: PREVIEW_LIMIT_MS }).then(
        () => undefined,
        (error: unknown) => (error as Error).message,
      );
      return { failure, ...told(existsSync(log) ? readFileSync(log, "utf8") : "") };
    } finally {
      rmSync(log, { force: true });
    }
  }

  /** The project whose program registers what a file says. */
  private project(): string {
    const folder = join(this.folder, "registered");
    if (existsSync(folder)) return folder;
    mkdirSync(folder);
    symlinkSync(join(ROOT, "node_modules"), join(folder, "node_modules"));
    const program = pathToFileURL(join(ROOT, "test/support/registered.ts")).href;
    writeFileSync(
      join(folder, "index.mjs"),
      `import { registerAll } from "${program}";\nregisterAll(process.env.IAM_HA_RESOURCES);\n`,
    );
    writeFileSync(join(folder, "package.json"), JSON.stringify({ type: "module", main: "index.mjs" }));
    writeFileSync(
      join(folder, "Pulumi.yaml"),
      `name: ${PROJECT}\nruntime:\n  name: nodejs\n  options:\n    typescript: false\nmain: index.mjs\n`,
    );
    return folder;
  }
}

/** One line of the engine's event log, as far as it is about policies. */
interface EngineEvent {
  readonly policyEvent?: { readonly policyName: string; readonly enforcementLevel: string; readonly message: string };
  readonly policyAnalyzeSummaryEvent?: PolicySummary;
  readonly policyAnalyzeStackSummaryEvent?: PolicySummary;
  readonly resourcePreEvent?: { readonly metadata: { readonly op: string; readonly type: string } };
}
interface PolicySummary {
  readonly passed?: readonly string[];
  readonly failed?: readonly string[];
}

function told(log: string): Omit<Preview, "failure"> {
  const violations: EngineViolation[] = [];
  const asked = new Set<string>();
  const made: string[] = [];
  for (const line of log.split("\n").filter(Boolean)) {
    const event = JSON.parse(line) as EngineEvent;
    const { policyEvent: found, resourcePreEvent: planned } = event;
    if (found)
      violations.push({
        rule: found.policyName,
        level: found.enforcementLevel,
        message: found.message
          .replaceAll(/<\{%.*?%\}>/g, "")
          .replace(/^.*\n/, "")
          .trimEnd(),
      });
    for (const { passed = [], failed = [] } of [
      event.policyAnalyzeSummaryEvent ?? {},
      event.policyAnalyzeStackSummaryEvent ?? {},
    ])
      for (const rule of [...passed, ...failed]) asked.add(rule);
    if (planned?.metadata.op === "create") made.push(planned.metadata.type);
  }
  return { violations, asked, made };
}

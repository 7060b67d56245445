import { Command, CommanderError, Option } from "commander";
import { parseContexts, parseRegions, REGIONS } from "./arguments.ts";
import { netCommand } from "./commands/net.ts";
import type { PolicyOptions } from "./commands/policy.ts";
import type { PreviewOptions } from "./commands/preview.ts";
import type { StartOptions } from "./commands/start.ts";
import type { StatusOptions } from "./commands/status.ts";
import type { StopOptions } from "./commands/stop.ts";
import { COULD_NOT_RUN, FORMATS } from "./policy/formats.ts";

const program = new Command("iam-ha")
  .description("Three regions of an IAM platform, on embedded clusters or on your own")
  .enablePositionalOptions()
  .exitOverride()
  .showHelpAfterError();

const instance = () =>
  new Option("--instance <name>", "name of the embedded instance, for several on one machine")
    .env("IAM_HA_INSTANCE")
    .default("default");

program
  .command("start")
  .description("bring the platform up, doing only what is missing")
  .option("--regions <names>", "regions to bring up, separated by commas; default: all", parseRegions, [...REGIONS])
  .option(
    "--contexts <pairs>",
    "clusters of your own: region=kubeconfig-context,…; nothing local is touched",
    parseContexts,
  )
  .addOption(instance())
  .action(async (options: StartOptions) => (await import("./commands/start.ts")).start(options));

program
  .command("stop")
  .description("end everything that start has started; data stays unless --wipe is given")
  .option("--regions <names>", "regions to stop, separated by commas; default: all", parseRegions)
  .option("--wipe", "delete the data too", false)
  .addOption(instance())
  .action(async (options: StopOptions) => (await import("./commands/stop.ts")).stop(options));

program
  .command("status")
  .description(
    "every part with its role and health, and the regions side by side; exit status 1 where one is not healthy",
  )
  .option("--json", "for machines", false)
  .option("--watch", "go on showing it until Ctrl-C", false)
  .addOption(instance())
  .action(async (options: StatusOptions) => (await import("./commands/status.ts")).status(options));

program.addCommand(netCommand(instance));

program
  .command("render <region>")
  .description("the Kubernetes objects of a region as YAML, secrets masked")
  .option("--embedded", "with the embedded overlay", false)
  .action(async (region: string, options: { embedded: boolean }) =>
    (await import("./commands/render.ts")).render(region, options),
  );

program
  .command("preview")
  .description(
    "what would change in each region and what that does to what runs, with the policies' results; exit status 1 where something is violated or unsafe, 2 where it could not be told",
  )
  .option("--regions <names>", "regions to preview, separated by commas; default: all there are", parseRegions)
  .option("--against <what>", "live, or a git revision; default: live where the instance runs or --contexts is given")
  .addOption(new Option("--format <format>", "how to print it").choices(["text", "json", "markdown"]).default("text"))
  .option("--markdown", "as --format markdown: for a comment on a pull request", false)
  .option("--contexts <pairs>", "clusters of your own: region=kubeconfig-context,…", parseContexts)
  .option("--config <file>", "configuration of the policies, JSON; unlocks are in it too")
  .option(
    "--unlock <name>",
    "allow one unsafe change, by its name; may be given several times",
    (name: string, before: string[]) => [...before, name],
    [] as string[],
  )
  .option("--exit-code", "exit status 3 where something would change", false)
  .addOption(instance())
  .action(async (options: PreviewOptions) => (await import("./commands/preview.ts")).preview(options));

program
  .command("kubectl <region> [args...]")
  .description("kubectl for a region of an embedded instance")
  .allowUnknownOption()
  .passThroughOptions()
  .addOption(instance())
  .action(async (region: string, args: string[], options: { instance: string }) =>
    (await import("./commands/kubectl.ts")).kubectl(region, args, options),
  );

program
  .command("goldens")
  .description("write the golden renders of all regions anew")
  .action(async () => (await import("./commands/goldens.ts")).goldens());

program
  .command("config-table")
  .description("write docs/config.md from the schema")
  .option("--check", "only say whether it is up to date", false)
  .action(async (options: { check: boolean }) => (await import("./commands/config-table.ts")).configTable(options));

program
  .command("policy [stacks...]")
  .description(
    "the policy pack over the stacks' resources, without the engine; exit status 1 for a mandatory violation, 2 where it could not run",
  )
  .option("--config <file>", "levels and configuration of the rules, as in the engine's --policy-pack-config")
  .addOption(new Option("--format <format>", "of the result").choices(FORMATS).default("table"))
  .option("--state <file>", "judge what `pulumi stack export` wrote, not what the program renders")
  .option("--embedded", "with the embedded overlay, and the limits of policies/embedded.json", false)
  .option("--preview", "with what a first deployment does not know yet unknown", false)
  .exitOverride((error) => {
    throw new CommanderError(error.exitCode === 0 ? 0 : COULD_NOT_RUN, error.code, error.message);
  })
  .action(async (stacks: string[], options: PolicyOptions) =>
    (await import("./commands/policy.ts")).policy(stacks, options),
  );

program
  .command("policy-docs")
  .description("write docs/policies.md from the rules")
  .option("--check", "only say whether it is up to date", false)
  .action(async (options: { check: boolean }) => (await import("./commands/policy-docs.ts")).policyDocs(options));

program
  .command("bench [names...]")
  .description("benchmarks: nginx, start, start-regions, replication, preview, policy; all of them when none is named")
  .action(async (names: string[]) => (await import("./commands/bench.ts")).bench(names));

program
  .command("test [layers...]")
  .description(
    "the tests, by layer: check, unit, stacks, policies, scanners, engines, images, live, drills; all of them when none is named",
  )
  .action(async (layers: string[]) => (await import("./commands/test.ts")).test(layers));

try {
  await program.parseAsync(process.argv);
} catch (error) {
  if (error instanceof CommanderError) process.exit(error.exitCode);
  // One sentence for a person; the stack only for whoever asks for it.
  const text = error instanceof Error ? (process.env["IAM_HA_DEBUG"] ? error.stack : error.message) : String(error);
  process.stderr.write(`\niam-ha: ${text}\n`);
  process.exit(process.exitCode ? Number(process.exitCode) : 1);
}

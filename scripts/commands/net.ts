import { Command, InvalidArgumentError } from "commander";
import {
  cutRegion,
  mendRegion,
  parseRegion,
  resetWan,
  setWan,
  wanState,
  wanTable,
  type LinkSettings,
  type RegionName,
  type WanState,
} from "../local/index.ts";
import { parseDuration, parseLoss, parsePair } from "../local/plan/wan.ts";

interface Common {
  readonly instance: string;
}

/** What a parser throws, as commander tells it: with the argument's name before it. */
function argument<T>(parse: (text: string) => T): (text: string) => T {
  return (text) => {
    try {
      return parse(text);
    } catch (error) {
      throw new InvalidArgumentError(error instanceof Error ? error.message : String(error));
    }
  };
}

function show(state: WanState, json = false): void {
  process.stdout.write(json ? `${JSON.stringify(state, null, 2)}\n` : `${wanTable(state)}\n`);
}

/** `npm run net`: the network between the embedded regions. Every order prints how things stand after it.
 *  @param instance makes the option that names the instance */
export function netCommand(instance: () => Parameters<Command["addOption"]>[0]): Command {
  const net = new Command("net").description(
    "the network between embedded regions: show it, cut it, mend it, change it",
  );
  const sub = (usage: string, description: string) => {
    const command = net.command(usage).description(description).addOption(instance());
    return command.exitOverride().showHelpAfterError();
  };
  const to = ["--to <region>", "only what the region sends to this one", argument(parseRegion)] as const;

  sub("show", "every link with its delay, jitter, loss, and what it has carried and dropped")
    .option("--json", "for machines", false)
    .action(async ({ json, ...options }: Common & { json: boolean }) => show(await wanState(options), json));

  sub("cut", "cut a region off from all others, both ways")
    .argument("<region>", "region to cut off", argument(parseRegion))
    .option(...to)
    .action(async (region: RegionName, options: Common & { to?: RegionName }) =>
      show(await cutRegion(region, options)),
    );

  sub("mend", "take the cuts of a region back, or all of them")
    .argument("[region]", "region to join again", argument(parseRegion))
    .option(...to)
    .action(async (region: RegionName | undefined, options: Common & { to?: RegionName }) => {
      if (region === undefined && options.to !== undefined) throw new Error("--to needs a region before it");
      show(await mendRegion(region, options));
    });

  sub("set", "change a link until the next reset, or until the last region stops")
    .argument("<link>", "two regions: beijing-shanghai", argument(parsePair))
    .option("--delay <time>", "one way, from 0ms to 10s", argument(parseDuration))
    .option("--jitter <time>", "how far the delay varies, either way; at most the delay", argument(parseDuration))
    .option("--loss <share>", "packets that never arrive, from 0% to 100%", argument(parseLoss))
    .option("--one-way", "only from the first region to the second", false)
    .action(async (link: ReturnType<typeof parsePair>, options: Common & SetOptions) => {
      const settings: Partial<LinkSettings> = {
        ...(options.delay === undefined ? {} : { delayMicros: options.delay }),
        ...(options.jitter === undefined ? {} : { jitterMicros: options.jitter }),
        ...(options.loss === undefined ? {} : { loss: options.loss }),
      };
      if (Object.keys(settings).length === 0) throw new Error("give at least one of --delay, --jitter, --loss");
      const back = { from: link.to, to: link.from };
      show(await setWan(options.oneWay ? [link] : [link, back], settings, options));
    });

  sub("reset", "take every cut and every change back").action(async (options: Common) => show(await resetWan(options)));
  return net;
}

interface SetOptions {
  readonly delay?: number;
  readonly jitter?: number;
  readonly loss?: number;
  readonly oneWay: boolean;
}

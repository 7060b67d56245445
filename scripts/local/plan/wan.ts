import { join } from "node:path";
import { z } from "zod";
import { MAX_LOG_BYTES } from "./daemons.ts";
import type { Instance } from "./instance.ts";
import { addresses, planRegion, regionNames, WAN_LINK, type RegionName } from "./regions.ts";

/** What one direction between two regions is like. */
export interface LinkSettings {
  /** One way, in microseconds. */
  readonly delayMicros: number;
  /** The delay varies by up to this, either way, in microseconds. */
  readonly jitterMicros: number;
  /** Share of packets that never arrive, from 0 to 1. */
  readonly loss: number;
}

/** One direction between two regions. */
export interface Direction {
  readonly from: RegionName;
  readonly to: RegionName;
}

/** What the emulator says of one direction. */
export interface WanLinkState extends LinkSettings, Direction {
  readonly down: boolean;
  /** As wan.yaml has it. */
  readonly normal: LinkSettings & { readonly down: boolean };
  /** Delivered. */
  readonly packets: number;
  readonly bytes: number;
  /** Packets lost by chance, dropped while cut, dropped over the bound of the queue, and with nobody at the other end. */
  readonly dropped: {
    readonly loss: number;
    readonly cut: number;
    readonly overflow: number;
    readonly away: number;
  };
}

/** The emulator's answer to every order. */
export interface WanState {
  readonly regions: readonly { readonly name: RegionName; readonly attached: boolean }[];
  readonly links: readonly WanLinkState[];
}

/** Every ordered pair of regions. */
export const directions: readonly Direction[] = regionNames.flatMap((from) =>
  regionNames.filter((to) => to !== from).map((to) => ({ from, to })),
);

/** The longest delay, in microseconds; the emulator's own bound. */
const MAX_DELAY = 10_000_000;

/** `14ms`, `0.5s`, `250us` in microseconds.
 *  @throws RangeError with what was found and what is allowed */
export function parseDuration(text: string): number {
  const [, number, unit] = /^(\d+(?:\.\d+)?)(us|ms|s)$/.exec(text.trim()) ?? [];
  const micros = Math.round(Number(number) * { us: 1, ms: 1e3, s: 1e6 }[unit as "us" | "ms" | "s"]);
  if (!(micros >= 0 && micros <= MAX_DELAY)) {
    throw new RangeError(`found ${JSON.stringify(text)}; write a time from 0ms to 10s, such as 14ms or 0.5s`);
  }
  return micros;
}

/** `0.01%` as a share from 0 to 1.
 *  @throws RangeError with what was found and what is allowed */
export function parseLoss(text: string): number {
  const [, number] = /^(\d+(?:\.\d+)?)%$/.exec(text.trim()) ?? [];
  const percent = Number(number);
  if (!(percent >= 0 && percent <= 100)) {
    throw new RangeError(`found ${JSON.stringify(text)}; write a share from 0% to 100%, such as 0.01%`);
  }
  return percent / 100;
}

/** `beijing-shanghai` as the two regions.
 *  @throws RangeError with what was found and what is allowed */
export function parsePair(text: string): Direction {
  const found = directions.find(({ from, to }) => `${from}-${to}` === text);
  if (found) return found;
  const pairs = directions.filter(({ from, to }) => regionNames.indexOf(from) < regionNames.indexOf(to));
  throw new RangeError(
    `found ${JSON.stringify(text)}; links are ${pairs.map(({ from, to }) => `${from}-${to}`).join(", ")}, either way round`,
  );
}

/** The directions that a cut of a region closes: all from and to it; with `to`, only packets from `region` to that one.
 *  @throws RangeError for one region with itself */
export function directionsOf(region: RegionName, to?: RegionName): readonly Direction[] {
  if (to === region) throw new RangeError(`${region} has no link to itself`);
  if (to !== undefined) return [{ from: region, to }];
  return directions.filter((d) => d.from === region || d.to === region);
}

const text = <T>(parse: (text: string) => T) =>
  z.string().transform((value, ctx): T => {
    try {
      return parse(value);
    } catch (error) {
      ctx.addIssue({ code: "custom", message: (error as Error).message });
      return z.NEVER;
    }
  });

const wanFile = z.strictObject({
  links: z.record(
    z.string(),
    z
      .strictObject({ delay: text(parseDuration), jitter: text(parseDuration), loss: text(parseLoss) })
      .refine(({ delay, jitter }) => jitter <= delay, { path: ["jitter"], message: "must not be over the delay" }),
  ),
});

/** Settings of every direction from the content of wan.yaml.
 *  @throws RangeError with every problem: the path, what was found and what is allowed */
export function parseWan(content: unknown, file: string): readonly (Direction & LinkSettings)[] {
  const result = wanFile.safeParse(content);
  if (!result.success) {
    const problems = result.error.issues.map((issue) => `${issue.path.map(String).join(".")}: ${issue.message}`);
    throw new RangeError(`${file}: ${problems.join("\n")}`);
  }
  const settings = new Map<string, LinkSettings>();
  for (const [pair, { delay, jitter, loss }] of Object.entries(result.data.links)) {
    let from, to;
    try {
      ({ from, to } = parsePair(pair));
    } catch (error) {
      throw new RangeError(`${file}: links: ${(error as Error).message}`, { cause: error });
    }
    if (settings.has(`${from}>${to}`)) throw new RangeError(`${file}: links.${pair}: this pair is there twice`);
    for (const key of [`${from}>${to}`, `${to}>${from}`])
      settings.set(key, { delayMicros: delay, jitterMicros: jitter, loss });
  }
  return directions.map((direction) => {
    const { from, to } = direction;
    const found = settings.get(`${from}>${to}`);
    if (!found) throw new RangeError(`${file}: links: there is none for ${from}-${to}`);
    return { ...direction, ...found };
  });
}

/** Where the emulator of an instance has its things. It belongs to no region: it runs while any of them does. */
export interface WanPlan {
  readonly instance: Instance;
  /** Folder of its record, socket and state: gone with the last region. */
  readonly run: string;
  readonly conf: string;
  readonly log: string;
  readonly control: string;
  readonly state: string;
  /** Path below the root of each cgroup hierarchy. */
  readonly cgroup: string;
}

export function planWan(instance: Instance): WanPlan {
  const run = join(instance.run, "wan");
  return {
    instance,
    run,
    conf: join(run, "wan.json"),
    log: join(run, "wan.log"),
    control: join(run, "control.sock"),
    state: join(run, "state.json"),
    cgroup: `/iam-ha-${instance.name}-wan`,
  };
}

/** The emulator's configuration file. All regions are in it, also those that never run: it need not be told. */
export function wanConfig(plan: WanPlan, links: readonly (Direction & LinkSettings)[]): unknown {
  return {
    control: plan.control,
    state: plan.state,
    logs: { glob: plan.log, maxBytes: MAX_LOG_BYTES },
    regions: regionNames.map((name) => {
      const { node, podCidr, serviceCidr } = addresses(name);
      return {
        name,
        netns: planRegion(plan.instance, name).netnsPath,
        device: WAN_LINK,
        networks: [`${node}/32`, podCidr, serviceCidr],
      };
    }),
    links,
  };
}

/** How things stand, as a table for people. */
export function wanTable(state: WanState): string {
  const header = ["link", "delay", "jitter", "loss", "state", "packets", "MiB", "lost", "cut off", "overflow", "away"];
  const rows = state.links.map((l) => [
    `${l.from} > ${l.to}`,
    millis(l.delayMicros),
    millis(l.jitterMicros),
    percent(l.loss),
    l.down ? "CUT" : changed(l) ? "changed" : "as configured",
    String(l.packets),
    (l.bytes / 1024 ** 2).toFixed(1),
    ...[l.dropped.loss, l.dropped.cut, l.dropped.overflow, l.dropped.away].map(String),
  ]);
  const widths = header.map((title, i) => Math.max(title.length, ...rows.map((row) => row[i]!.length)));
  const line = (row: readonly string[]) =>
    row
      .map((cell, i) => cell.padEnd(widths[i]!))
      .join("  ")
      .trimEnd();
  const away = state.regions.filter((region) => !region.attached).map((region) => region.name);
  const closing = away.length === 0 ? "all regions are joined" : `not running: ${away.join(", ")}`;
  return [line(header), ...rows.map(line), "", closing].join("\n");
}

function changed({ normal, ...now }: WanLinkState): boolean {
  return (["delayMicros", "jitterMicros", "loss"] as const).some((key) => now[key] !== normal[key]);
}

function millis(micros: number): string {
  return `${micros / 1000} ms`;
}

function percent(share: number): string {
  return `${Number((share * 100).toPrecision(6))} %`;
}

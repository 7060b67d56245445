import { z } from "zod";

/** How sessions and invalidations travel from one region to another, §5.4.2. PostgreSQL streams over the same pair of
 *  regions without batches. */
export const link = z.strictObject({
  from: z
    .string()
    .min(1)
    .describe("region that the data comes from; when activity has moved, the link runs the other way"),
  to: z.string().min(1).describe("region that takes it over"),
  mode: z.enum(["realtime", "near-realtime", "batch"]).describe("what the link is for; a label"),
  intervalMillis: z.int().min(100).max(600_000).describe("pause between two batches in milliseconds"),
  batchSize: z.int().min(1).max(10_000).describe("keys in one batch at most"),
  maxAttempts: z.int().min(1).max(100).describe("tries of one batch before it counts as an error"),
  retryDelayMillis: z.int().min(100).max(600_000).describe("pause between two tries in milliseconds"),
});
export type Link = z.infer<typeof link>;

/** The links of the design, §5.4.2. */
export const DEFAULT_LINKS: readonly Link[] = [
  {
    from: "beijing",
    to: "shanghai",
    mode: "realtime",
    intervalMillis: 1000,
    batchSize: 100,
    maxAttempts: 3,
    retryDelayMillis: 5000,
  },
  {
    from: "beijing",
    to: "shenzhen",
    mode: "near-realtime",
    intervalMillis: 5000,
    batchSize: 500,
    maxAttempts: 5,
    retryDelayMillis: 10_000,
  },
  {
    from: "shanghai",
    to: "shenzhen",
    mode: "batch",
    intervalMillis: 30_000,
    batchSize: 1000,
    maxAttempts: 3,
    retryDelayMillis: 15_000,
  },
];

/** The link between two regions, whichever way it was written down: the data's way follows from who is active. */
export function linkBetween(links: readonly Link[], source: string, target: string): Link | undefined {
  return (
    links.find(({ from, to }) => from === source && to === target) ??
    links.find(({ from, to }) => from === target && to === source)
  );
}

/** Regions that `target` may take its data from, best first: the active one, then, when that cannot be reached, linked
 *  regions that take over before it (a lower priority number). Along that order no circle can arise.
 *  Empty for the active region itself. */
export function sourcesOf(
  links: readonly Link[],
  priorities: Readonly<Record<string, number>>,
  target: string,
  active: string,
): string[] {
  if (target === active) return [];
  const others = Object.keys(priorities)
    .filter((name) => name !== target && name !== active && priorities[name]! < priorities[target]!)
    .sort((a, b) => priorities[a]! - priorities[b]!);
  return [active, ...others].filter((name) => linkBetween(links, name, target) !== undefined);
}

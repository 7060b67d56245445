import { DEFAULT_REGIONS } from "../../stacks/topology.ts";

/** A benchmark: bounded in time, prints a table and keeps its figures under docs/bench/. */
type Benchmark = () => Promise<void>;

const BENCHMARKS: Readonly<Record<string, Benchmark>> = {
  nginx: async () => (await import("../bench/nginx.ts")).benchNginx(),
  start: async () => (await import("../bench/start.ts")).benchStart(),
  "start-regions": async () =>
    (await import("../bench/start.ts")).benchStart(Object.keys(DEFAULT_REGIONS), "start-regions"),
  replication: async () => (await import("../bench/replication.ts")).benchReplication(),
  preview: async () => (await import("../bench/preview.ts")).benchPreview(),
  policy: async () => (await import("../bench/policy.ts")).benchPolicy(),
};

/** Runs the named benchmarks one after the other, or all. */
export async function bench(names: readonly string[]): Promise<void> {
  const known = Object.keys(BENCHMARKS);
  for (const name of names)
    if (!known.includes(name)) throw new Error(`found "${name}"; benchmarks are ${known.join(", ")}`);
  for (const name of names.length > 0 ? names : known) await BENCHMARKS[name]!();
}

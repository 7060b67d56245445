import { readFile } from "node:fs/promises";
import { pino } from "pino";
import { regionConfig, type RegionConfig } from "../core/region-config.ts";
import { RegionController } from "./controller.ts";
import { createSessionSync } from "./sessions/index.ts";

/** Usage: region-controller.mjs [CONFIG-FILE]; default /etc/region-controller/region.json. */
async function main(path: string): Promise<void> {
  const config = await load(path);
  const log = pino({
    base: { service: "region-controller", region: config.region },
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (level) => ({ level }) },
  });
  const stop = new AbortController();
  for (const name of ["SIGTERM", "SIGINT"] as const) process.once(name, () => stop.abort());
  await new RegionController({ config, log, sessions: createSessionSync }).run(stop.signal);
}

/** @throws Error with every problem of the file in one line each */
async function load(path: string): Promise<RegionConfig> {
  const parsed = regionConfig.safeParse(JSON.parse(await readFile(path, "utf8")));
  if (!parsed.success) {
    const problems = parsed.error.issues.map((issue) => `  ${issue.path.join(".")}: ${issue.message}`);
    throw new Error(`${path} is not a configuration of the region controller:\n${problems.join("\n")}`);
  }
  const { region, regions } = parsed.data;
  if (!(region in regions))
    throw new Error(`${path}: region ${region} is not one of its regions: ${Object.keys(regions).join(", ")}`);
  return parsed.data;
}

main(process.argv[2] ?? "/etc/region-controller/region.json").catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
});

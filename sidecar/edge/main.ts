import { readFile } from "node:fs/promises";
import { pino } from "pino";
import { edgeSidecarConfig, type EdgeSidecarConfig } from "../core/edge-sidecar-config.ts";
import { Follower } from "./follower.ts";
import { serveStatus } from "./status.ts";

/** Usage: edge-sidecar.mjs [CONFIG-FILE]; default /etc/edge-sidecar/sidecar.json. */
async function main(path: string): Promise<void> {
  const config = await load(path);
  const log = pino({
    base: { service: "edge-sidecar", region: config.region },
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (level) => ({ level }) },
  });
  const follower = new Follower(config, log);
  const stop = new AbortController();
  for (const name of ["SIGTERM", "SIGINT"] as const) process.once(name, () => stop.abort());
  const server = await serveStatus(follower, config.statusPort);
  log.info({ event: "started", controller: config.controller }, "edge sidecar started");
  await follower.run(stop.signal);
  server.close();
  server.closeAllConnections();
  log.info({ event: "stopped" }, "edge sidecar stopped");
}

/** @throws Error with every problem of the file in one line each */
async function load(path: string): Promise<EdgeSidecarConfig> {
  const parsed = edgeSidecarConfig.safeParse(JSON.parse(await readFile(path, "utf8")));
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map((issue) => `  ${issue.path.join(".")}: ${issue.message}`);
  throw new Error(`${path} is not a configuration of the edge sidecar:\n${problems.join("\n")}`);
}

main(process.argv[2] ?? "/etc/edge-sidecar/sidecar.json").catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
});

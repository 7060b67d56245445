import { readFile } from "node:fs/promises";
import { pino } from "pino";
import { redisKeeperConfig, type RedisKeeperConfig } from "../core/redis-keeper-config.ts";
import { Keeper } from "./keeper.ts";
import { kubernetesPlacement } from "./placement.ts";
import { serveStatus } from "./status.ts";

/** Usage: redis-keeper.mjs [CONFIG-FILE]; default /etc/redis-keeper/keeper.json. */
async function main(path: string): Promise<void> {
  const config = await load(path);
  const log = pino({
    base: { service: "redis-keeper", region: config.region },
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (level) => ({ level }) },
  });
  const { placement } = config;
  const keeper = new Keeper(
    config,
    log,
    placement.source === "kubernetes"
      ? kubernetesPlacement(placement.namespace, placement.labelSelector, 2 * config.callTimeoutMillis)
      : undefined,
  );
  const stop = new AbortController();
  for (const name of ["SIGTERM", "SIGINT"] as const) process.once(name, () => stop.abort());
  const server = await serveStatus(keeper, config.statusPort);
  log.info({ event: "started", nodes: config.nodes.length, masters: config.masters }, "keeper started");
  await keeper.run(stop.signal);
  server.close();
  server.closeAllConnections();
  log.info({ event: "stopped" }, "keeper stopped");
}

/** @throws Error with every problem of the file in one line each */
async function load(path: string): Promise<RedisKeeperConfig> {
  const parsed = redisKeeperConfig.safeParse(JSON.parse(await readFile(path, "utf8")));
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map((issue) => `  ${issue.path.join(".")}: ${issue.message}`);
  throw new Error(`${path} is not a configuration of the keeper:\n${problems.join("\n")}`);
}

main(process.argv[2] ?? "/etc/redis-keeper/keeper.json").catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
});

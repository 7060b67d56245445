import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { pino } from "pino";
import { dnsSidecarConfig, type DnsSidecarConfig } from "../core/dns-sidecar-config.ts";
import { SourceKeeper } from "./keeper.ts";

/** Usage: dns-sidecar.mjs [CONFIG-FILE]; default /etc/dns-sidecar/sidecar.json. */
async function main(path: string): Promise<void> {
  const config = await load(path);
  const log = pino({
    base: { service: "dns-sidecar", region: config.region },
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (level) => ({ level }) },
  });
  const keeper = new SourceKeeper(config, log);
  const stop = new AbortController();
  for (const name of ["SIGTERM", "SIGINT"] as const) process.once(name, () => stop.abort());
  const server = createServer((_request, response) => response.writeHead(keeper.alive ? 200 : 503).end());
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(config.statusPort, resolve);
  });
  log.info({ event: "started", witness: config.witness }, "DNS sidecar started");
  await keeper.run(stop.signal);
  server.close();
  server.closeAllConnections();
  log.info({ event: "stopped" }, "DNS sidecar stopped");
}

/** @throws Error with every problem of the file in one line each */
async function load(path: string): Promise<DnsSidecarConfig> {
  const parsed = dnsSidecarConfig.safeParse(JSON.parse(await readFile(path, "utf8")));
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map((issue) => `  ${issue.path.join(".")}: ${issue.message}`);
  throw new Error(`${path} is not a configuration of the DNS sidecar:\n${problems.join("\n")}`);
}

main(process.argv[2] ?? "/etc/dns-sidecar/sidecar.json").catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
});

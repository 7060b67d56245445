import { createServer, type Server } from "node:http";
import type { Keeper } from "./keeper.ts";

/** Serves `/healthz` (200 while the loop goes round, 503 after) and `/status` (what was seen last, as JSON; it holds no
 *  secret). */
export function serveStatus(keeper: Keeper, port: number): Promise<Server> {
  const server = createServer((request, response) => {
    const send = (code: number, body: unknown) => {
      response.writeHead(code, { "content-type": "application/json" }).end(`${JSON.stringify(body)}\n`);
    };
    if (request.method !== "GET") return send(405, { error: "only GET" });
    if (request.url === "/healthz") return send(keeper.alive ? 200 : 503, { alive: keeper.alive });
    if (request.url === "/status") return send(200, keeper.status);
    return send(404, { error: "only /healthz and /status" });
  });
  server.requestTimeout = 5000;
  server.headersTimeout = 5000;
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, () => resolve(server));
  });
}

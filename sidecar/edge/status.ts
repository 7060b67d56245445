import { createServer, type Server } from "node:http";
import type { Follower } from "./follower.ts";

/** Serves `/healthz` (200 while the loop goes round, 503 after), `/readyz` (503 until NGINX knows its way) and `/status`
 *  (what is known, as JSON). */
export function serveStatus(follower: Follower, port: number): Promise<Server> {
  const server = createServer((request, response) => {
    const send = (code: number, body: unknown) => {
      response.writeHead(code, { "content-type": "application/json" }).end(`${JSON.stringify(body)}\n`);
    };
    if (request.method !== "GET") return send(405, { error: "only GET" });
    if (request.url === "/healthz") return send(follower.alive ? 200 : 503, { alive: follower.alive });
    if (request.url === "/readyz") return send(follower.ready ? 200 : 503, { ready: follower.ready });
    if (request.url === "/status") return send(200, follower.status);
    return send(404, { error: "only /healthz, /readyz and /status" });
  });
  server.requestTimeout = 5000;
  server.headersTimeout = 5000;
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, () => resolve(server));
  });
}

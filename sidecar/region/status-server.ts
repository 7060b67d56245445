import { createServer, type Server } from "node:http";

export interface StatusAnswers {
  /** Whether the controller's loops go round. Says nothing of the platform. */
  readonly alive: () => boolean;
  /** Must hold no secret: this port is plain. */
  readonly status: () => object;
  /** Prometheus' text format. */
  readonly metrics: () => string;
}

/** Serves `/healthz` (200 while the loops go round, 503 after), `/status.json` and `/metrics`, for probes, the status
 *  board and Prometheus. */
export function serveStatus(answers: StatusAnswers, port: number): Promise<Server> {
  const server = createServer((request, response) => {
    const send = (code: number, body: string, type = "application/json") => {
      response.writeHead(code, { "content-type": type }).end(body);
    };
    const json = (code: number, body: unknown) => send(code, `${JSON.stringify(body)}\n`);
    if (request.method !== "GET") return json(405, { error: "only GET" });
    switch (request.url ?? "") {
      case "/healthz": {
        const alive = answers.alive();
        return json(alive ? 200 : 503, { alive });
      }
      case "/status.json":
        return json(200, answers.status());
      case "/metrics":
        return send(200, answers.metrics(), "text/plain; version=0.0.4; charset=utf-8");
      default:
        return json(404, { error: "only /healthz, /status.json and /metrics" });
    }
  });
  server.requestTimeout = 5000;
  server.headersTimeout = 5000;
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, () => resolve(server));
  });
}

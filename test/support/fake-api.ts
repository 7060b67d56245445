import { readFileSync } from "node:fs";
import http from "node:http";
import https from "node:https";
import type { AddressInfo, Socket } from "node:net";
import { join } from "node:path";
import type { TLSSocket } from "node:tls";

/** What one of the API's pods saw of a request. */
export interface SeenRequest {
  readonly method: string;
  readonly url: string;
  readonly headers: http.IncomingHttpHeaders;
  readonly httpVersion: string;
}

export interface FakeApiOptions {
  /** Address on loopback, one per pod. */
  readonly address: string;
  /** Port; default: a free one. */
  readonly port?: number;
  /** Folder with tls.crt, tls.key and ca.crt; then it speaks HTTPS and demands a client certificate of that CA. */
  readonly tls?: string;
}

/** Stands for a pod of the API behind the edge:
 *  `/api/status/<n>` answers with that status, `/api/slow/<ms>` after that time, `/api/break` cuts the connection without
 *  an answer, `/api/big` sends 4 KiB of JSON, `/static/missing` 404; all else 200 with the pod's address in the body. */
export class FakeApi {
  readonly address: string;
  readonly seen: SeenRequest[] = [];
  /** Connections that were made since the start. */
  connections = 0;
  private readonly server: http.Server | https.Server;
  private readonly sockets = new Set<Socket>();

  private constructor(options: FakeApiOptions) {
    this.address = options.address;
    const read = (file: string) => readFileSync(join(options.tls!, file));
    const handle = (req: http.IncomingMessage, res: http.ServerResponse) =>
      this.answer(req, res, options.tls !== undefined);
    this.server =
      options.tls === undefined
        ? http.createServer(handle)
        : https.createServer(
            {
              cert: read("tls.crt"),
              key: read("tls.key"),
              ca: read("ca.crt"),
              requestCert: true,
              rejectUnauthorized: false,
            },
            handle,
          );
    this.server.keepAliveTimeout = 60_000;
    this.server.on("connection", (socket: Socket) => {
      this.connections += 1;
      this.sockets.add(socket);
      socket.on("error", () => undefined);
      socket.once("close", () => this.sockets.delete(socket));
    });
  }

  static async start(options: FakeApiOptions): Promise<FakeApi> {
    const api = new FakeApi(options);
    await api.listen(options.port ?? 0);
    return api;
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  /** Ends at once, as a killed process does: open connections are cut. */
  async kill(): Promise<void> {
    const closed = new Promise((resolve) => this.server.close(resolve));
    for (const socket of this.sockets) socket.destroy();
    await closed;
  }

  /** Comes back after `kill`. */
  async listen(port: number): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.server.once("error", reject);
      this.server.listen(port, this.address, resolve);
    });
  }

  private answer(req: http.IncomingMessage, res: http.ServerResponse, secured: boolean): void {
    this.seen.push({ method: req.method!, url: req.url!, headers: req.headers, httpVersion: req.httpVersion });
    req.resume();
    // Headers that belong to the edge: it must not pass on a second one.
    res.setHeader("X-Frame-Options", "SAMEORIGIN");
    res.setHeader("X-Request-ID", "of-the-api");
    res.setHeader("Cache-Control", "no-cache");
    res.setHeader("X-Pod", this.address);
    if (secured && !(req.socket as TLSSocket).authorized)
      return void json(res, 401, { error: { code: "no_client_certificate" } });
    const [, what, detail] = /^\/api\/(status|slow|break|big)(?:\/([0-9]+))?/.exec(req.url!) ?? [];
    if (what === "break") return void req.socket.destroy();
    if (what === "big") return void json(res, 200, { text: "abcdefgh".repeat(512) });
    if (what === "status") return void json(res, Number(detail), { error: { code: "of_the_api" } });
    if (what === "slow") return void setTimeout(() => json(res, 200, { pod: this.address }), Number(detail));
    if (req.url === "/static/missing") return void json(res, 404, { error: { code: "of_the_api" } });
    json(res, 200, { pod: this.address });
  }
}

function json(res: http.ServerResponse, status: number, body: unknown): void {
  if (res.destroyed) return;
  const text = JSON.stringify(body);
  res.writeHead(status, { "Content-Type": "application/json", "Content-Length": Buffer.byteLength(text) });
  res.end(text);
}

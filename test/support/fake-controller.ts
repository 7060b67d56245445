import { readFileSync } from "node:fs";
import type { ServerResponse } from "node:http";
import https from "node:https";
import type { AddressInfo, Socket } from "node:net";
import { join } from "node:path";
import type { TLSSocket } from "node:tls";
import type { ActiveAnswer } from "../../sidecar/core/region-status.ts";

/** Stands for a region controller: `GET /active` over HTTPS, for clients with a certificate of the same CA. */
export class FakeController {
  /** What it answers; a text: that, as it is; undefined: nothing at all. */
  says: ActiveAnswer | string | undefined;
  /** Common names that clients showed, one per request. */
  readonly clients: string[] = [];
  connections = 0;
  readonly #server: https.Server;
  readonly #sockets = new Set<Socket>();

  private constructor(folder: string, says: ActiveAnswer) {
    this.says = says;
    const read = (file: string) => readFileSync(join(folder, file));
    this.#server = https.createServer(
      { cert: read("tls.crt"), key: read("tls.key"), ca: read("ca.crt"), requestCert: true, rejectUnauthorized: true },
      (req, res) => {
        this.clients.push(String((req.socket as TLSSocket).getPeerCertificate().subject.CN));
        this.#answer(req.url ?? "", res);
      },
    );
    this.#server.on("connection", (socket: Socket) => {
      this.connections += 1;
      this.#sockets.add(socket);
      socket.on("error", () => undefined);
      socket.once("close", () => this.#sockets.delete(socket));
    });
  }

  /** @param folder with tls.crt, tls.key and ca.crt */
  static async start(folder: string, says: ActiveAnswer, port = 0): Promise<FakeController> {
    const controller = new FakeController(folder, says);
    await new Promise<void>((resolve, reject) => {
      controller.#server.once("error", reject);
      controller.#server.listen(port, "127.0.0.1", resolve);
    });
    return controller;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Ends at once, as a killed process does. */
  async kill(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  #answer(url: string, res: ServerResponse): void {
    if (this.says === undefined) return;
    if (url !== "/active") return void res.writeHead(404).end();
    const body = typeof this.says === "string" ? this.says : JSON.stringify(this.says);
    res.writeHead(200, { "content-type": "application/json" }).end(body);
  }
}

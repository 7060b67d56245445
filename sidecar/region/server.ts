import { constants } from "node:crypto";
import { createServer, type Server } from "node:https";
import type { IncomingMessage } from "node:http";
import type { TLSSocket } from "node:tls";
import type { Logger } from "pino";
import type { RegionConfig } from "../core/region-config.ts";
import type { ActiveAnswer, BirthAnswer, RegionStatus } from "../core/region-status.ts";
import { digestQuery } from "./digest.ts";
import type { DigestQuery } from "./digest.ts";
import { reasonOf } from "./loop.ts";
import type { TlsFiles } from "./tls.ts";

/** How often a renewed certificate is looked for, in milliseconds. */
const RENEWAL_MILLIS = 5000;

/** How long a question of sessions may take to answer, in milliseconds. */
const ANSWER_MILLIS = 10_000;

/** What the server tells. */
export interface Answers {
  active(): ActiveAnswer;
  birth(): BirthAnswer;
  status(): RegionStatus;
  position(): Promise<object>;
  digest(query: DigestQuery): Promise<object | undefined>;
  /** @returns undefined for a path that is not known */
  sessions(path: string, query: URLSearchParams, signal: AbortSignal): Promise<object | undefined>;
}

/** Paths that any part with a certificate of the internal CA may ask. All others are for peers' controllers. */
const OPEN = new Set(["/active", "/birth"]);

/** Whether whoever shows a certificate with these names may ask for a path. `peers` are the names by which the other
 *  regions' controllers are known. */
export function allowed(path: string, names: readonly string[], peers: readonly string[]): boolean {
  return OPEN.has(path) || names.some((name) => peers.includes(name));
}

/** DNS names of a certificate, as Node.js lists its alternative names. */
export function dnsNames(subjectAltName: string | undefined): string[] {
  return (subjectAltName ?? "")
    .split(", ")
    .filter((entry) => entry.startsWith("DNS:"))
    .map((entry) => entry.slice(4));
}

/** The HTTPS API: only for who shows a certificate of the internal CA. */
export class ControllerServer {
  readonly #config: RegionConfig;
  readonly #tls: TlsFiles;
  readonly #answers: Answers;
  readonly #log: Logger;
  #server: Server | undefined;
  #renewal: NodeJS.Timeout | undefined;

  constructor(config: RegionConfig, tls: TlsFiles, answers: Answers, log: Logger) {
    this.#config = config;
    this.#tls = tls;
    this.#answers = answers;
    this.#log = log;
  }

  /** @returns the port it listens on */
  async listen(): Promise<number> {
    let shown = await this.#tls.material();
    const options = {
      requestCert: true,
      rejectUnauthorized: true,
      minVersion: "TLSv1.2",
      // A resumed session would have to be trusted to remember whose it was.
      secureOptions: constants.SSL_OP_NO_TICKET,
    } as const;
    const server = createServer({ ...options, ...shown }, (request, response) => {
      this.#answer(request)
        .then(([status, body]) => {
          response.writeHead(status, { "content-type": "application/json", "cache-control": "no-store" });
          response.end(`${JSON.stringify(body)}\n`);
        })
        // Whatever a caller sends, it costs nobody but itself.
        .catch(() => response.destroy());
    });
    server.requestTimeout = 5000;
    server.headersTimeout = 5000;
    server.keepAliveTimeout = 30_000;
    server.maxConnections = 200;
    this.#server = server;
    const renew = async () => {
      const material = await this.#tls.material();
      if (material === shown) return;
      server.setSecureContext({ ...options, ...material });
      shown = material;
      this.#log.info({ event: "certificate-renewed", cause: "the files changed" }, "the renewed certificate is shown");
    };
    this.#renewal = setInterval(() => {
      renew().catch((error: unknown) =>
        this.#log.warn({ event: "certificate-unusable", cause: reasonOf(error) }, "the certificate stays as it was"),
      );
    }, RENEWAL_MILLIS);
    this.#renewal.unref();
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(this.#config.listen.controller, resolve);
    });
    const address = server.address();
    return typeof address === "object" && address ? address.port : 0;
  }

  /** Ends what is idle at once, and what is in flight after `graceMillis`. */
  async close(graceMillis = 2000): Promise<void> {
    clearInterval(this.#renewal);
    const server = this.#server;
    if (!server) return;
    const timer = setTimeout(() => server.closeAllConnections(), graceMillis);
    await new Promise<void>((resolve) => {
      server.close(() => resolve());
      server.closeIdleConnections();
    });
    clearTimeout(timer);
  }

  async #answer(request: IncomingMessage): Promise<[number, unknown]> {
    if (!URL.canParse(request.url ?? "/", "https://controller")) return [400, { error: "not a path" }];
    const url = new URL(request.url ?? "/", "https://controller");
    if (request.method !== "GET") return [405, { error: "only GET" }];
    const names = dnsNames((request.socket as TLSSocket).getPeerCertificate().subjectaltname);
    const { region, regions } = this.#config;
    const peers = Object.entries(regions).flatMap(([name, { controller }]) =>
      name === region ? [] : [controller.host],
    );
    if (!allowed(url.pathname, names, peers)) {
      this.#log.warn(
        { event: "refused", path: url.pathname, names, cause: "not a peer's certificate" },
        "call refused",
      );
      return [403, { error: "only the controllers of other regions may ask this" }];
    }
    try {
      return await this.#route(url);
    } catch (error) {
      if (error instanceof RangeError) return [400, { error: error.message }];
      return [503, { error: reasonOf(error) }];
    }
  }

  async #route({ pathname, searchParams }: URL): Promise<[number, unknown]> {
    switch (pathname) {
      case "/active":
        return [200, this.#answers.active()];
      case "/birth":
        return [200, this.#answers.birth()];
      case "/status":
        return [200, this.#answers.status()];
      case "/position":
        return [200, await this.#answers.position()];
      case "/digest": {
        const query = digestQuery.safeParse(Object.fromEntries(searchParams));
        if (!query.success) return [400, { error: query.error.issues.map((i) => `${i.path.join(".")}: ${i.message}`) }];
        const digest = await this.#answers.digest(query.data);
        return digest ? [200, digest] : [404, { error: "no such table" }];
      }
      default: {
        if (!pathname.startsWith("/sessions/")) return [404, { error: "no such path" }];
        const answer = await this.#answers.sessions(pathname, searchParams, AbortSignal.timeout(ANSWER_MILLIS));
        return answer ? [200, answer] : [404, { error: "no such path" }];
      }
    }
  }
}

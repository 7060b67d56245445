import type { IncomingHttpHeaders } from "node:http";
import http from "node:http";
import https from "node:https";
import { isIP } from "node:net";

export interface RequestOptions {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Buffer;
  /** Host name: in the Host header, and over TLS as the server's name. */
  readonly host: string;
  /** Trusted CA; over TLS only. Without it no certificate is checked. */
  readonly ca?: Buffer;
  /** Address on loopback that the request comes from: each has limits of its own. */
  readonly from?: string;
  readonly agent?: https.Agent;
  /** Default 10000 ms. */
  readonly timeoutMs?: number;
}

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  /** All lines of one header, which `headers` may have joined. */
  readonly all: (name: string) => string[];
  readonly body: string;
}

/** One request to a port of 127.0.0.1, redirects not followed. */
export function request(
  scheme: "http" | "https",
  port: number,
  path: string,
  options: RequestOptions,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const common = {
      host: "127.0.0.1",
      port,
      path,
      method: options.method ?? "GET",
      headers: { Host: options.host, ...options.headers },
      ...(options.from === undefined ? {} : { localAddress: options.from }),
      timeout: options.timeoutMs ?? 10_000,
    };
    // An address is no server name (RFC 6066): then none is sent.
    const tls = {
      servername: isIP(options.host) ? "" : options.host,
      ...(options.ca ? { ca: options.ca } : { rejectUnauthorized: false }),
      agent: options.agent ?? false,
    };
    const req = scheme === "http" ? http.request({ ...common, agent: false }) : https.request({ ...common, ...tls });
    req.once("error", reject);
    req.once("timeout", () => req.destroy(new Error(`no answer to ${path} in time`)));
    req.once("response", (res) => {
      const chunks: Buffer[] = [];
      res.on("data", (chunk: Buffer) => chunks.push(chunk));
      res.once("error", reject);
      res.once("end", () =>
        resolve({
          status: res.statusCode!,
          headers: res.headers,
          all: (name) => res.headersDistinct[name.toLowerCase()] ?? [],
          body: Buffer.concat(chunks).toString(),
        }),
      );
    });
    req.end(options.body);
  });
}

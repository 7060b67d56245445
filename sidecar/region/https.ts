import { request, type Agent } from "node:https";
import type { TlsFiles } from "./tls.ts";

export interface CallOptions {
  readonly method?: "GET" | "POST" | "PATCH";
  readonly headers?: Readonly<Record<string, string>>;
  /** Sent as JSON. */
  readonly body?: unknown;
  /** Deadline of the whole call, connecting included, in milliseconds. */
  readonly timeoutMillis: number;
  readonly signal?: AbortSignal | undefined;
  /** An answer longer than this is refused, in bytes; default 8 MiB. */
  readonly maxBytes?: number;
}

export interface CallAnswer {
  readonly status: number;
  readonly body: Buffer;
}

/** The server answered, and refused. */
export class StatusError extends Error {
  readonly status: number;
  constructor(url: string, status: number, detail: string) {
    super(`${withoutQuery(url)} answered ${status}${detail === "" ? "" : `: ${detail.slice(0, 200)}`}`);
    this.name = "StatusError";
    this.status = status;
  }
}

/** One HTTPS call with the controller's certificate; the server's is held against the name in the URL.
 *  @throws when there is no whole answer before the deadline */
export async function call(tls: TlsFiles, url: string, options: CallOptions): Promise<CallAnswer> {
  const timeout = AbortSignal.timeout(options.timeoutMillis);
  const agent = await tls.agent();
  try {
    return await once(agent, url, options, timeout);
  } catch (error) {
    // A kept connection that the other side had closed in the same moment: nothing was asked yet.
    if (!(error instanceof StaleConnection)) throw error;
    return await once(agent, url, options, timeout);
  }
}

class StaleConnection extends Error {}

function once(agent: Agent, url: string, options: CallOptions, timeout: AbortSignal): Promise<CallAnswer> {
  const { timeoutMillis, maxBytes = 8 * 1024 ** 2 } = options;
  const signal = options.signal ? AbortSignal.any([timeout, options.signal]) : timeout;
  const body = options.body === undefined ? undefined : Buffer.from(JSON.stringify(options.body));
  return new Promise((resolve, reject) => {
    const fail = (error: Error) =>
      reject(timeout.aborted ? new Error(`${withoutQuery(url)}: no answer within ${timeoutMillis} ms`) : error);
    const sent = request(
      url,
      {
        method: options.method ?? "GET",
        agent,
        signal,
        headers: {
          ...(body ? { "content-type": "application/json", "content-length": body.length } : {}),
          ...options.headers,
        },
      },
      (response) => {
        const chunks: Buffer[] = [];
        let size = 0;
        response.on("data", (chunk: Buffer) => {
          chunks.push(chunk);
          size += chunk.length;
          if (size > maxBytes) sent.destroy(new Error(`${withoutQuery(url)}: the answer is over ${maxBytes} bytes`));
        });
        response.on("error", fail);
        response.on("end", () => resolve({ status: response.statusCode ?? 0, body: Buffer.concat(chunks) }));
      },
    );
    sent.on("error", (error: NodeJS.ErrnoException) => {
      const stale = sent.reusedSocket && (error.code === "ECONNRESET" || error.code === "EPIPE");
      if (stale && !timeout.aborted) reject(new StaleConnection(error.message));
      else fail(error);
    });
    sent.end(body);
  });
}

/** The JSON of an answer that must be a success.
 *  @throws StatusError when the server refuses */
export async function callJson(tls: TlsFiles, url: string, options: CallOptions): Promise<unknown> {
  const { status, body } = await call(tls, url, options);
  if (status < 200 || status > 299) throw new StatusError(url, status, body.toString("utf8").trim());
  return JSON.parse(body.toString("utf8")) as unknown;
}

function withoutQuery(url: string): string {
  return url.split("?")[0]!;
}

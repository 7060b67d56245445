import { readFile } from "node:fs/promises";
import { Agent, request } from "node:https";
import { activeAnswer, type SeenAnswer } from "../core/edge-route.ts";
import type { EdgeSidecarConfig } from "../core/edge-sidecar-config.ts";

/** More than any answer has, in bytes. */
const MAX_ANSWER = 65_536;
/** What a controller knows of the witness is old after so long, in milliseconds: another one may know better. */
const OLD_MILLIS = 5000;

/** Asks the region controller who is active, over one connection that is kept while its answers are fresh: a controller
 *  that has taken another's place is found by a new connection. */
export class ControllerClient {
  readonly #config: EdgeSidecarConfig;
  #agent = newAgent();

  constructor(config: EdgeSidecarConfig) {
    this.#config = config;
  }

  /** @throws Error when there is no proper answer within the time-out */
  async ask(signal: AbortSignal): Promise<SeenAnswer> {
    const { tls, controller, callTimeoutMillis } = this.#config;
    const limit = AbortSignal.any([signal, AbortSignal.timeout(callTimeoutMillis)]);
    try {
      // Read each time, as they are renewed under way; the agent opens a new connection when they have changed.
      const [ca, cert, key] = await Promise.all(
        [tls.caFile, tls.certFile, tls.keyFile].map((file) => readFile(file, { signal: limit })),
      );
      const text = await get(new URL("/active", controller), { ca, cert, key, agent: this.#agent, signal: limit });
      const answer: unknown = JSON.parse(text);
      const age = (answer as { ageMillis?: unknown } | null)?.ageMillis;
      if (typeof age !== "number" || age > OLD_MILLIS) this.close();
      return activeAnswer.parse(answer);
    } catch (error) {
      this.close();
      if (limit.aborted && !signal.aborted)
        throw new Error(`no answer within ${callTimeoutMillis} ms`, { cause: error });
      throw error;
    }
  }

  /** Closes the connection; the next question opens another. */
  close(): void {
    this.#agent.destroy();
    this.#agent = newAgent();
  }
}

function newAgent(): Agent {
  return new Agent({ keepAlive: true, maxSockets: 1 });
}

interface GetOptions {
  readonly ca: Buffer | undefined;
  readonly cert: Buffer | undefined;
  readonly key: Buffer | undefined;
  readonly agent: Agent;
  readonly signal: AbortSignal;
}

function get(url: URL, options: GetOptions): Promise<string> {
  return new Promise((resolve, reject) => {
    const req = request(url, { ...options, method: "GET", headers: { accept: "application/json" } });
    req.once("error", reject);
    req.once("response", (response) => {
      let text = "";
      response.setEncoding("utf8");
      response.once("error", reject);
      response.on("data", (chunk: string) => {
        text += chunk;
        if (text.length > MAX_ANSWER) response.destroy(new Error(`an answer of more than ${MAX_ANSWER} bytes`));
      });
      response.once("end", () => {
        if (response.statusCode === 200) resolve(text);
        else reject(new Error(`answered ${response.statusCode}`));
      });
    });
    req.end();
  });
}

import { request, type RequestOptions } from "node:https";
import type { DnsSidecarConfig } from "../core/dns-sidecar-config.ts";

interface Shown {
  readonly password: string;
  readonly ca: Buffer;
  readonly cert: Buffer;
  readonly key: Buffer;
}

/** Whether a member of the witness lets the user in: all are asked at once, as CoreDNS will take any of them. */
export async function admits(config: DnsSidecarConfig, shown: Shown, signal: AbortSignal): Promise<boolean> {
  const body = JSON.stringify({ name: config.user, password: shown.password });
  const limit = AbortSignal.any([signal, AbortSignal.timeout(config.callTimeoutMillis)]);
  const { ca, cert, key } = shown;
  const answers = config.witness.map((url) =>
    post(new URL("/v3/auth/authenticate", url), body, { ca, cert, key, signal: limit }).catch(() => 0),
  );
  return (await Promise.all(answers)).includes(200);
}

/** @returns the status */
function post(url: URL, body: string, options: RequestOptions): Promise<number> {
  return new Promise((resolve, reject) => {
    const req = request(url, { ...options, method: "POST", agent: false });
    req.once("error", reject);
    req.once("response", (response) => {
      response.once("error", reject);
      // The token in it is of no use here.
      response.once("end", () => resolve(response.statusCode ?? 0)).resume();
    });
    req.end(body);
  });
}

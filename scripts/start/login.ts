import { readFileSync } from "node:fs";
import { request } from "node:https";
import { join } from "node:path";
import { endpointName } from "../../components/common/names.ts";
import type { DeployedRegion } from "../deployment.ts";
import { sharedPasswords } from "../local/values/passwords.ts";
import { writePrivate } from "../private-file.ts";
import { caFile, instanceFolder, loginFile } from "./folders.ts";

export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: string;
}

/** One request to a region's edge over TLS, with the embedded CA as the only one trusted.
 *  @throws Error when there is no answer in time, 10 s if not said otherwise */
export function edgeRequest(
  place: DeployedRegion,
  instance: string,
  path: string,
  options: {
    method?: string;
    body?: unknown;
    token?: string;
    headers?: Record<string, string>;
    timeoutMs?: number;
    signal?: AbortSignal;
  } = {},
): Promise<Answer> {
  if (!place.edge) throw new Error(`the edge of ${place.region} is not reached from this host`);
  const name = endpointName("api", place.region, "iam.example.com");
  const text = options.body === undefined ? undefined : JSON.stringify(options.body);
  const signals = [AbortSignal.timeout(options.timeoutMs ?? 10_000), ...(options.signal ? [options.signal] : [])];
  const { address, httpsPort } = place.edge;
  return new Promise((resolve, reject) => {
    const call = request(
      {
        host: address,
        port: httpsPort,
        servername: name,
        ca: readFileSync(caFile(instance)),
        path,
        method: options.method ?? "GET",
        agent: false,
        headers: {
          host: name,
          ...(text === undefined
            ? {}
            : { "content-type": "application/json", "content-length": String(Buffer.byteLength(text)) }),
          ...(options.token === undefined ? {} : { authorization: `Bearer ${options.token}` }),
          ...options.headers,
        },
        signal: AbortSignal.any(signals),
      },
      (response) => {
        let body = "";
        response.setEncoding("utf8").on("data", (chunk: string) => (body += chunk));
        response.on("end", () => resolve({ status: response.statusCode ?? 0, headers: response.headers, body }));
        response.on("error", reject);
      },
    );
    call.on("error", (error) =>
      reject(new Error(`https://${name}${path} at ${address}:${httpsPort}: ${error.message}`)),
    );
    call.end(text);
  });
}

/** Logs in as a person would: through https, NGINX, the API and PgBouncer to the primary, the session in Redis, and a
 *  read from a replica.
 *  @throws Error with what was answered instead */
export async function login(
  place: DeployedRegion,
  instance: string,
  signal?: AbortSignal,
): Promise<{ user: string; token: string; readFrom: string }> {
  const password = sharedPasswords(join(instanceFolder(instance), "passwords.json")).apiAdmin;
  const credentials = { username: "admin", password };
  writePrivate(loginFile(instance), JSON.stringify(credentials));
  const common = signal ? { signal } : {};
  const logged = await edgeRequest(place, instance, "/api/auth/login", {
    ...common,
    method: "POST",
    body: credentials,
  });
  if (logged.status !== 200)
    throw new Error(`${place.region}: the login was answered with ${logged.status} ${logged.body.slice(0, 200)}`);
  const { token } = JSON.parse(logged.body) as { token: string };
  const users = await edgeRequest(place, instance, "/api/users", { ...common, token });
  if (users.status !== 200)
    throw new Error(`${place.region}: the list of users was answered with ${users.status} ${users.body.slice(0, 200)}`);
  return { user: credentials.username, token, readFrom: String(users.headers["x-served-by-role"]) };
}

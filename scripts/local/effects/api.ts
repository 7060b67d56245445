import { request } from "node:https";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { objectPath, type KubeObject } from "../plan/manifests.ts";
import type { RegionPlan } from "../plan/regions.ts";

/** The few calls that a cluster's start needs, over the host relay; everything else is kubectl's. */
export interface Api {
  get(path: string): Promise<{ readonly status: number; readonly body: string }>;
  apply(object: KubeObject): Promise<void>;
}

const CALL_TIMEOUT = 10_000;

export async function openApi(plan: RegionPlan): Promise<Api> {
  const file = (name: string) => readFile(join(plan.pki, name));
  const [ca, cert, key] = await Promise.all([file("ca.crt"), file("admin.crt"), file("admin.key")]);
  const call = (method: string, path: string, body?: string) =>
    new Promise<{ status: number; body: string }>((resolve, reject) => {
      const req = request(
        {
          host: "127.0.0.1",
          port: plan.ports.api,
          method,
          path,
          ca,
          cert,
          key,
          agent: false,
          timeout: CALL_TIMEOUT,
          signal: AbortSignal.timeout(CALL_TIMEOUT),
          headers: body === undefined ? {} : { "content-type": "application/apply-patch+yaml" },
        },
        (res) => {
          let text = "";
          res.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
          res.once("end", () => resolve({ status: res.statusCode ?? 0, body: text }));
          res.once("error", reject);
        },
      );
      req.once("error", reject);
      req.end(body);
    });
  return {
    get: (path) => call("GET", path),
    async apply(object) {
      const path = `${objectPath(object)}?fieldManager=iam-ha-local&force=true`;
      const { status, body } = await call("PATCH", path, JSON.stringify(object));
      if (status >= 300) {
        throw new Error(
          `${plan.region}: applying ${object.kind} ${object.metadata.name} was answered with ${status}: ${body}`,
        );
      }
    },
  };
}

/**
 * Asks again until the answer is there.
 *
 * @param ask gives undefined as long as it is not; its errors count as not yet.
 * @param check throws when waiting has become senseless (a daemon has ended).
 */
export async function waitFor<T>(
  what: string,
  timeout: number,
  ask: () => Promise<T | undefined>,
  options: { readonly signal?: AbortSignal; readonly interval?: number; readonly check?: () => Promise<void> } = {},
): Promise<T> {
  const deadline = Date.now() + timeout;
  let last: unknown;
  for (;;) {
    options.signal?.throwIfAborted();
    try {
      const answer = await ask();
      if (answer !== undefined) return answer;
    } catch (error) {
      last = error;
    }
    await options.check?.();
    if (Date.now() > deadline) {
      const why = last instanceof Error ? ` The last try said: ${last.message}` : "";
      throw new Error(`Waited ${timeout / 1000} s for ${what}, in vain.${why}`);
    }
    await sleep(options.interval ?? 200, undefined, { signal: options.signal });
  }
}

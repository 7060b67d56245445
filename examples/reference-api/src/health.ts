import { within } from "./deadline.ts";

export type Status = "healthy" | "degraded" | "unhealthy";

/** One check's result, in the shape of §5.1.2. */
export interface HealthResult {
  readonly service: string;
  readonly status: Status;
  /** Milliseconds. */
  readonly responseTime: number;
  readonly lastCheck: string;
  readonly details: Readonly<Record<string, unknown>>;
}

export interface Part {
  /** Name in the details. */
  readonly name: string;
  /** Whether the service is unhealthy without it; others make it degraded. */
  readonly needed: boolean;
  readonly check: () => Promise<Record<string, unknown>>;
}

/** Whole from parts: unhealthy when a needed one fails or all do, degraded when another one fails. */
export function overall(parts: readonly { needed: boolean; ok: boolean }[]): Status {
  const failed = parts.filter((part) => !part.ok);
  if (failed.length === 0) return "healthy";
  return failed.length === parts.length || failed.some((part) => part.needed) ? "unhealthy" : "degraded";
}

/** A check of several parts at the same time, each within the time-out. Callers at the same moment share one run, so
 *  that probes cost the same however many ask. */
export function healthCheck(
  service: string,
  timeoutMillis: number,
  parts: readonly Part[],
): () => Promise<HealthResult> {
  let current: Promise<HealthResult> | undefined;
  const run = async (): Promise<HealthResult> => {
    const begin = performance.now();
    const results = await Promise.all(
      parts.map(async ({ name, needed, check }) => {
        try {
          return { name, needed, ok: true, details: await within(name, timeoutMillis, check()) };
        } catch (error) {
          return { name, needed, ok: false, details: { error: reason(error) } };
        }
      }),
    );
    return {
      service,
      status: overall(results),
      responseTime: Math.round(performance.now() - begin),
      lastCheck: new Date().toISOString(),
      details: Object.fromEntries(results.map(({ name, ok, details }) => [name, { ok, ...details }])),
    };
  };
  return () => (current ??= run().finally(() => (current = undefined)));
}

/** Why a check failed, for whoever asks without logging in: a kind, and no address, user or query. */
function reason(error: unknown): string {
  const code = (error as { code?: unknown } | null)?.code;
  if (error instanceof Error && error.name === "DeadlineError") return "timeout";
  return typeof code === "string" ? code : "failed";
}

/** Whether a service outside answers 2xx. */
export async function checkExternal(url: string, timeoutMillis: number): Promise<Record<string, unknown>> {
  const response = await fetch(url, { signal: AbortSignal.timeout(timeoutMillis), redirect: "manual" });
  await response.body?.cancel();
  if (!response.ok) throw Object.assign(new Error(`answered ${response.status}`), { code: `http_${response.status}` });
  return { statusCode: response.status };
}

import { setTimeout as sleep } from "node:timers/promises";
import type { Logger } from "pino";

/** The same failure is logged once in so long, in milliseconds. */
const REPEAT_MILLIS = 60_000;

/** One activity that goes round: never twice at once, and on after any error. */
export class Loop {
  readonly name: string;
  readonly #step: (signal: AbortSignal) => Promise<void>;
  readonly #intervalMillis: number;
  readonly #limitMillis: number;
  readonly #log: Logger;
  #endedAt = performance.now();
  #logged = { reason: "", at: -Infinity };

  /** @param limitMillis how long one step may take before the loop counts as stuck */
  constructor(
    name: string,
    options: { intervalMillis: number; limitMillis: number; log: Logger },
    step: (signal: AbortSignal) => Promise<void>,
  ) {
    this.name = name;
    this.#step = step;
    this.#intervalMillis = options.intervalMillis;
    this.#limitMillis = options.limitMillis;
    this.#log = options.log;
  }

  /** Whether it goes round. */
  get alive(): boolean {
    return performance.now() - this.#endedAt < this.#limitMillis + 3 * this.#intervalMillis + 10_000;
  }

  /** Runs until aborted. The pause is between two beginnings, or shorter steps would drift. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const begun = performance.now();
      try {
        await this.#step(signal);
        this.#logged = { reason: "", at: -Infinity };
      } catch (error) {
        if (!signal.aborted) this.#report(error);
      }
      this.#endedAt = performance.now();
      const pause = Math.max(10, this.#intervalMillis - (this.#endedAt - begun));
      await sleep(pause, undefined, { signal }).catch(() => {});
    }
  }

  #report(error: unknown): void {
    const reason = reasonOf(error);
    const now = performance.now();
    if (reason === this.#logged.reason && now - this.#logged.at < REPEAT_MILLIS) return;
    this.#logged = { reason, at: now };
    this.#log.warn({ event: `${this.name}-failed`, cause: reason }, `${this.name} failed: ${reason}`);
  }
}

/** An error in one line. */
export function reasonOf(error: unknown): string {
  if (error instanceof AggregateError && error.errors.length > 0) return reasonOf(error.errors[0]);
  return (error instanceof Error ? error.message : String(error)).split("\n")[0]!;
}

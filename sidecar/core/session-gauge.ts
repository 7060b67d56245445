import type { LinkStatus } from "./region-status.ts";

const HOUR_MILLIS = 3_600_000;
/** Errors that are kept in mind at most. */
const MAX_ERRORS = 10_000;

export interface GaugeSettings {
  readonly source: string;
  readonly target: string;
  /** Pause between two rounds, in which the source may have changed without a word. */
  readonly intervalMillis: number;
  readonly maxLagSeconds: number;
  readonly maxErrors: number;
}

/** What was read in an answer. */
export interface Heard {
  /** When it was asked for. */
  readonly askedAt: number;
  /** Age of the oldest change that the receiver had not applied then; undefined: there was none. */
  readonly oldestMillis: number | undefined;
  /** The same with this batch applied. */
  readonly restMillis: number | undefined;
  readonly pending: number;
  /** During a walk over all keys nothing is known to be up to date. */
  readonly walking: boolean;
}

/** How a link is: lag, errors, batches. No I/O; times are in milliseconds of one clock that does not go back. */
export class LinkGauge {
  readonly #settings: GaugeSettings;
  readonly #startedAt: number;
  #errors: number[] = [];
  #lastError: string | undefined;
  #batches = 0;
  #oversize = 0;
  /** When the oldest change was made that is not applied here; undefined: none is known. */
  #missingSince: number | undefined;
  /** Up to when nothing is missing, with no such change known. */
  #knownAt: number | undefined;
  #walkSince: number | undefined;
  #pending: number | undefined;

  constructor(settings: GaugeSettings, now: number) {
    this.#settings = settings;
    this.#startedAt = now;
  }

  /** An answer has come; its batch is not applied yet. */
  heard(answer: Heard): void {
    if (answer.walking) this.#walkSince ??= answer.askedAt;
    if (answer.oldestMillis !== undefined && !answer.walking) this.#missingSince = answer.askedAt - answer.oldestMillis;
  }

  /** Its batch is applied. */
  applied(answer: Heard, keys: number, oversize: number): void {
    if (keys > 0) this.#batches++;
    this.#oversize += oversize;
    this.#pending = answer.pending;
    if (answer.walking) return;
    this.#walkSince = undefined;
    this.#missingSince = answer.restMillis === undefined ? undefined : answer.askedAt - answer.restMillis;
    this.#knownAt = answer.askedAt;
  }

  /** A batch was given up for now. */
  failed(message: string, now: number): void {
    this.#lastError = message;
    this.#errors.push(now);
    if (this.#errors.length > MAX_ERRORS) this.#errors.shift();
  }

  /** When a batch was last asked for after which nothing was missing here. */
  get caughtUpAt(): number | undefined {
    return this.#missingSince === undefined && this.#walkSince === undefined ? this.#knownAt : undefined;
  }

  /** Seconds behind: the age of the oldest change known to be missing here. Without one, how much longer ago than the
   *  link's interval the source was heard; undefined before all keys were walked over once. */
  lagSeconds(now: number): number | undefined {
    if (this.#missingSince !== undefined) return (now - this.#missingSince) / 1000;
    if (this.#knownAt === undefined) return undefined;
    return Math.max(0, now - this.#knownAt - this.#settings.intervalMillis) / 1000;
  }

  status(now: number): LinkStatus {
    const { source, target, maxLagSeconds, maxErrors } = this.#settings;
    this.#errors = this.#errors.filter((at) => now - at < HOUR_MILLIS);
    const errors = this.#errors.length;
    const lag = this.lagSeconds(now);
    const silent = (now - this.#startedAt) / 1000;
    const causes: string[] = [];
    if (lag !== undefined && lag > maxLagSeconds) causes.push(`${lag.toFixed(1)} s behind, over ${maxLagSeconds} s`);
    if (lag === undefined && silent > maxLagSeconds) causes.push(`not copied once in ${silent.toFixed(0)} s`);
    if (errors > maxErrors) causes.push(`${errors} errors in an hour, over ${maxErrors}`);
    const notes: string[] = [];
    if (this.#walkSince !== undefined) notes.push("walking over all keys");
    if (this.#oversize > 0) notes.push(`${this.#oversize} values were too big to be copied`);
    return {
      source,
      target,
      kind: "sessions",
      healthy: causes.length === 0,
      lagSeconds: lag,
      lagBytes: undefined,
      pendingKeys: this.#pending,
      errors,
      lastError: this.#lastError,
      batches: this.#batches,
      detail: [...causes, ...notes].join("; "),
    };
  }
}

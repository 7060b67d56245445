import type { Logger } from "pino";
import type { Problem } from "../core/region-status.ts";

/** Logs a problem when it begins and when it is over. */
export class ProblemLog {
  readonly #log: Logger;
  #open: ReadonlyMap<string, Problem> = new Map();

  constructor(log: Logger) {
    this.#log = log;
  }

  update(problems: readonly Problem[], epoch: number | undefined): void {
    const now = new Map(problems.map((problem) => [`${problem.kind} ${problem.subject}`, problem]));
    for (const [key, { kind, subject, message }] of now) {
      if (!this.#open.has(key)) this.#log.warn({ event: "problem", kind, subject, epoch, cause: message }, message);
    }
    for (const [key, { kind, subject }] of this.#open) {
      if (!now.has(key))
        this.#log.info(
          { event: "problem-over", kind, subject, epoch, cause: "no longer seen" },
          `over: ${kind} of ${subject}`,
        );
    }
    this.#open = now;
  }
}

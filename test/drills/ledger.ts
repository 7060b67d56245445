import { setTimeout as sleep } from "node:timers/promises";
import type { RegionUnderTest } from "../live/region.ts";

/** Writes through the edge, one after the other, and remembers what was acknowledged: whatever else happens, every one
 *  of these must be there afterwards. */
export class Ledger {
  readonly acknowledged: string[] = [];
  /** Longest time in milliseconds between two acknowledged writes. */
  longestGapMillis = 0;
  readonly #region: RegionUnderTest;
  readonly #prefix = `ledger-${Date.now()}`;
  readonly #abort = new AbortController();
  readonly #token: string;
  #done: Promise<void> = Promise.resolve();

  private constructor(region: RegionUnderTest, token: string) {
    this.#region = region;
    this.#token = token;
  }

  /** Starts to write, about three rows a second: below the edge's limit of 10 requests. */
  static async start(region: RegionUnderTest): Promise<Ledger> {
    const { token } = await region.logIn();
    const ledger = new Ledger(region, token);
    ledger.#done = ledger.#write();
    return ledger;
  }

  async #write(): Promise<void> {
    let last = performance.now();
    for (let i = 0; !this.#abort.signal.aborted; i++) {
      const username = `${this.#prefix}-${i}`;
      const body = { username, password: "correct horse battery", role: "user" };
      const status = await this.#region
        .edge("/api/users", { method: "POST", token: this.#token, body, timeoutMs: 5000 })
        .then((answer) => answer.status)
        .catch(() => 0);
      if (status === 201) {
        this.acknowledged.push(username);
        this.longestGapMillis = Math.max(this.longestGapMillis, performance.now() - last);
        last = performance.now();
      }
      await sleep(300, undefined, { signal: this.#abort.signal }).catch(() => {});
    }
  }

  async stop(): Promise<void> {
    this.#abort.abort();
    await this.#done;
  }

  /** Which of the acknowledged rows a region does not have. */
  async missingIn(region: RegionUnderTest): Promise<string[]> {
    const out = await region.sql(`select username from users where username like '${this.#prefix}-%'`);
    const there = new Set(out.split("\n"));
    return this.acknowledged.filter((username) => !there.has(username));
  }
}

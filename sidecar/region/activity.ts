import type { Logger } from "pino";
import {
  activityProblems,
  claimTransaction,
  decideActivity,
  dnsKey,
  dnsRecord,
  dnsRepair,
  WITNESS_KEYS,
  witnessView,
  type ActivityInput,
  type WitnessView,
} from "../core/region-activity.ts";
import type { WitnessWord } from "../core/region-birth.ts";
import type { RegionConfig } from "../core/region-config.ts";
import type { ActiveRecord, Problem } from "../core/region-status.ts";
import type { Database } from "./database.ts";
import { reasonOf } from "./loop.ts";
import type { WitnessClient } from "./witness-client.ts";

/** How old what was read from the witness may be to count as its word, in milliseconds. */
const FRESH_MILLIS = 3000;

/** Reads the witness, and holds activity while this region has it. */
export class Activity {
  readonly #config: RegionConfig;
  readonly #client: WitnessClient;
  readonly #database: Database;
  readonly #log: Logger;
  readonly #dns: { readonly key: string; readonly value: string };
  readonly #startedAt = performance.now();
  #view: WitnessView | undefined;
  #readAt: number | undefined;
  #lastError: string | undefined;
  #held: number | undefined;
  #named: string | undefined;

  constructor(config: RegionConfig, client: WitnessClient, database: Database, log: Logger) {
    this.#config = config;
    this.#client = client;
    this.#database = database;
    this.#log = log;
    const { name, ttlSeconds } = config.dns;
    this.#dns = { key: dnsKey(name), value: dnsRecord(config.regions[config.region]!.edge.host, ttlSeconds) };
  }

  /** What was read last, however long ago. */
  get view(): WitnessView | undefined {
    return this.#view;
  }

  /** The record that was read last; undefined when there was none. */
  get active(): ActiveRecord | undefined {
    const record = this.#view?.broken === undefined ? this.#view?.active : undefined;
    return record && { region: record.region, epoch: record.epoch, since: record.since };
  }

  /** The region that is active, or was last, by what was read last. */
  get named(): string | undefined {
    return this.#view?.broken === undefined ? (this.#view?.active?.region ?? this.#view?.last) : undefined;
  }

  /** Epoch of the region that is active, or was last. */
  get epoch(): number | undefined {
    return this.#view?.broken === undefined ? this.#view?.epoch?.value : undefined;
  }

  /** Age in milliseconds of what was read; undefined when nothing ever was. */
  get ageMillis(): number | undefined {
    return this.#readAt === undefined ? undefined : Math.round(performance.now() - this.#readAt);
  }

  get reachable(): boolean {
    return this.ageMillis !== undefined && this.#lastError === undefined;
  }

  get lastError(): string | undefined {
    return this.#lastError;
  }

  /** The witness' word for a database that is to be made. */
  get word(): WitnessWord {
    const view = this.#view;
    if (view && this.ageMillis! <= FRESH_MILLIS) {
      if (view.broken !== undefined) return { state: "damaged", cause: view.broken };
      return { state: "told", active: this.active, last: view.last };
    }
    const forMillis = performance.now() - (this.#readAt ?? this.#startedAt);
    return { state: "unreachable", forMillis, lastKnown: this.named };
  }

  get problems(): Problem[] {
    const input = this.#input();
    return input ? activityProblems(input) : [];
  }

  /** One look, and what follows from it.
   *  @throws when the witness does not answer */
  async step(signal: AbortSignal): Promise<void> {
    try {
      await this.#read(signal);
      await this.#act(signal);
      this.#lastError = undefined;
    } catch (error) {
      this.#lastError = reasonOf(error);
      throw error;
    }
  }

  async #read(signal: AbortSignal): Promise<void> {
    const begun = performance.now();
    this.#view = witnessView(await this.#client.read(WITNESS_KEYS.prefix, this.#dns.key, signal), this.#dns.key);
    // As of the question, not of the answer: what is too old must never be taken for fresh.
    this.#readAt = begun;
    const { active } = this.#view;
    const named = active && `${active.region} ${active.epoch}`;
    if (named !== this.#named) {
      const cause = active ? `${active.region} is active under epoch ${active.epoch}` : "no region is active";
      this.#log.info({ event: "activity-seen", active: active?.region, epoch: active?.epoch, cause }, cause);
      this.#named = named;
    }
  }

  #input(): ActivityInput | undefined {
    const { region, regions } = this.#config;
    if (!this.#view) return undefined;
    return {
      region,
      initiallyActive: regions[region]!.initiallyActive,
      database: this.#database.last.status.state,
      systemId: this.#database.last.status.systemId,
      witness: this.#view,
    };
  }

  async #act(signal: AbortSignal): Promise<void> {
    const action = decideActivity(this.#input()!);
    if (action.kind === "none") {
      this.#lost(action.cause);
      return;
    }
    if (action.kind === "keep") {
      if (this.#held !== action.epoch) {
        this.#held = action.epoch;
        this.#log.info({ event: "keeping", epoch: action.epoch, cause: action.cause }, "this region holds activity");
      }
      if ((await this.#client.keepAlive(action.lease, signal)) === 0) this.#lost("the lease had run out");
      const repair = dnsRepair(this.#view!, this.#config.region, this.#dns);
      if (repair && (await this.#client.commit(repair, signal)))
        this.#log.info(
          { event: "name-repaired", epoch: action.epoch, cause: "the platform's name led elsewhere" },
          "the platform's name leads here again",
        );
      return;
    }
    await this.#claim(signal);
  }

  async #claim(signal: AbortSignal): Promise<void> {
    // What was seen of the database may be a round old: a claim rests on a look of its own.
    await this.#database.look(signal);
    const input = this.#input()!;
    const action = decideActivity(input);
    if (action.kind !== "claim") return;
    const { region, witness } = this.#config;
    const record: ActiveRecord = { region, epoch: action.epoch, since: new Date().toISOString() };
    const lease = await this.#client.grant(witness.leaseTtlSeconds, signal);
    const done = await this.#client.commit(
      claimTransaction(this.#view!, { record, systemId: input.systemId!, lease, dns: this.#dns }),
      signal,
    );
    const { epoch, cause } = action;
    if (done) {
      this.#held = epoch;
      this.#log.info({ event: "claimed", epoch, cause }, `${region} is active under epoch ${epoch}: ${cause}`);
    } else this.#log.warn({ event: "claim-refused", epoch, cause }, "the witness has changed meanwhile");
    await this.#read(signal);
  }

  #lost(cause: string): void {
    if (this.#held === undefined) return;
    // The place where a region that is no longer the active one must be fenced.
    this.#log.error({ event: "activity-lost", epoch: this.#held, cause }, `activity lost: ${cause}`);
    this.#held = undefined;
  }
}

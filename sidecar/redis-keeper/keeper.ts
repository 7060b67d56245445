import { setTimeout as sleep } from "node:timers/promises";
import type { Logger } from "pino";
import type { RedisKeeperConfig } from "../core/redis-keeper-config.ts";
import { fingerprint, plan, type Action, type Plan } from "../core/redis-topology.ts";
import { slotCount } from "../core/redis-nodes.ts";
import type { NodeObservation } from "../core/redis-world.ts";
import { NodeClient } from "./node-client.ts";
import type { Placement } from "./placement.ts";

/** How long the machines of the pods are taken as known before they are asked for again, in milliseconds. */
const PLACEMENT_MILLIS = 10_000;
/** Pause after a look that led to actions, in milliseconds: what they started mostly ends within this. */
const BUSY_MILLIS = 300;
/** An action that is tried again and again is logged once in so long, in milliseconds. */
const REPEAT_MILLIS = 60_000;

export interface KeeperStatus {
  readonly region: string;
  /** When the last look ended, ISO 8601; undefined before the first. */
  readonly seenAt: string | undefined;
  readonly nodes: readonly {
    readonly name: string;
    readonly machine: string | undefined;
    readonly role: "master" | "replica" | "unknown";
    readonly slots: number;
    readonly keys: number;
    readonly inSync: boolean;
  }[];
  readonly problems: Plan["problems"];
  /** Actions carried out since the start, by kind. */
  readonly actions: Readonly<Record<string, number>>;
}

/** Looks at all nodes, decides, acts, again and again. Holds nothing that a restart would miss; two at once ask for the
 *  same, and Redis refuses the second. */
export class Keeper {
  readonly #config: RedisKeeperConfig;
  readonly #log: Logger;
  readonly #placement: Placement | undefined;
  readonly #clients: readonly NodeClient[];
  readonly #counts: Record<string, number> = {};
  #machines: ReadonlyMap<string, string> = new Map();
  #machinesAt = -Infinity;
  readonly #logged = new Map<string, number>();
  #lastActions = "";
  #fingerprint = "";
  #changedAt = 0;
  #status: KeeperStatus;
  #endedAt = performance.now();

  constructor(config: RedisKeeperConfig, log: Logger, placement: Placement | undefined) {
    this.#config = config;
    this.#log = log;
    this.#placement = placement;
    this.#clients = config.nodes.map((node) => new NodeClient(node, config));
    this.#status = { region: config.region, seenAt: undefined, nodes: [], problems: [], actions: {} };
  }

  /** What was seen last. */
  get status(): KeeperStatus {
    return this.#status;
  }

  /** Whether the loop goes round: the last look ended no longer ago than looks can take. Says nothing of the cluster. */
  get alive(): boolean {
    const { intervalMillis, callTimeoutMillis } = this.#config;
    return performance.now() - this.#endedAt < 10_000 + 3 * intervalMillis + 20 * callTimeoutMillis;
  }

  /** Runs until aborted. Errors of single looks are logged and the loop goes on. */
  async run(signal: AbortSignal): Promise<void> {
    try {
      while (!signal.aborted) {
        let acted = false;
        try {
          acted = await this.once(signal);
        } catch (error) {
          this.#log.error({ event: "look-failed", err: error }, "a look at the cluster failed");
        }
        this.#endedAt = performance.now();
        const pause = acted ? Math.min(BUSY_MILLIS, this.#config.intervalMillis) : this.#config.intervalMillis;
        await sleep(pause, undefined, { signal }).catch(() => {});
      }
    } finally {
      for (const client of this.#clients) client.close();
    }
  }

  /** One look and what follows from it.
   *  @returns whether anything new was done, and another look soon is worth it */
  async once(signal: AbortSignal): Promise<boolean> {
    const nodes = await this.#observe(signal);
    const now = performance.now();
    const seen = fingerprint(nodes);
    if (seen !== this.#fingerprint) {
      this.#fingerprint = seen;
      this.#changedAt = now;
    }
    const settled = now - this.#changedAt >= this.#config.settleMillis;
    const desired = { masters: this.#config.masters, spread: this.#placement !== undefined };
    const { actions, problems } = plan(desired, { nodes, settled });
    this.#report(nodes, problems);
    for (const action of actions) {
      if (signal.aborted) return true;
      await this.#act(action);
    }
    const all = JSON.stringify(actions);
    const news = actions.length > 0 && all !== this.#lastActions;
    this.#lastActions = all;
    return news;
  }

  async #observe(signal: AbortSignal): Promise<NodeObservation[]> {
    await this.#locate(signal);
    return Promise.all(
      this.#clients.map(async (client): Promise<NodeObservation> => {
        const { name } = client.node;
        const machine = this.#machines.get(name.split(".")[0]!);
        try {
          return { name, machine, view: await client.look() };
        } catch (error) {
          return { name, machine, view: undefined, reason: error instanceof Error ? error.message : String(error) };
        }
      }),
    );
  }

  /** Brings the machines up to date. What was known stays when the API server does not answer: without it no pod moves. */
  async #locate(signal: AbortSignal): Promise<void> {
    const complete = this.#clients.every(({ node }) => this.#machines.has(node.name.split(".")[0]!));
    const age = performance.now() - this.#machinesAt;
    if (!this.#placement || (complete && age < PLACEMENT_MILLIS)) return;
    try {
      this.#machines = await this.#placement(signal);
      this.#machinesAt = performance.now();
    } catch (error) {
      this.#log.warn({ event: "placement-unknown", err: error }, "the machines of the pods could not be learnt");
    }
  }

  async #act(action: Action): Promise<void> {
    const { at, kind, cause, ...detail } = action;
    const client = this.#clients.find(({ node }) => node.name === at)!;
    try {
      await client.act(action);
      this.#counts[kind] = (this.#counts[kind] ?? 0) + 1;
      if (this.#isNews(action))
        this.#log.info({ event: kind, node: at, ...detail, cause }, `${kind} at ${at}: ${cause}`);
    } catch (error) {
      // Not the end of anything: the next look shows whether it is still needed.
      const reason = error instanceof Error ? error.message : String(error);
      if (this.#isNews(action, "refused")) {
        const event = `${kind}-refused`;
        this.#log.warn({ event, node: at, ...detail, cause, reason }, `${kind} at ${at} failed: ${reason}`);
      }
    }
  }

  #isNews(action: Action, outcome = ""): boolean {
    const now = performance.now();
    for (const [key, at] of this.#logged) if (now - at > REPEAT_MILLIS) this.#logged.delete(key);
    const key = outcome + JSON.stringify(action);
    if (this.#logged.has(key)) return false;
    this.#logged.set(key, now);
    return true;
  }

  #report(nodes: readonly NodeObservation[], problems: Plan["problems"]): void {
    const keyOf = ({ kind, subject = "" }: Plan["problems"][number]) => `${kind} ${subject}`;
    const before = new Map(this.#status.problems.map((problem) => [keyOf(problem), problem]));
    for (const problem of problems) {
      const { kind, subject, message } = problem;
      if (!before.delete(keyOf(problem))) this.#log.warn({ event: "problem", kind, subject }, message);
    }
    for (const { kind, subject } of before.values()) {
      this.#log.info({ event: "problem-over", kind, subject }, `over: ${kind}${subject ? ` of ${subject}` : ""}`);
    }
    this.#status = {
      region: this.#config.region,
      seenAt: new Date().toISOString(),
      nodes: nodes.map(({ name, machine, view }) => ({
        name,
        machine,
        role: view?.self.role ?? "unknown",
        slots: slotCount(view?.self.slots ?? []),
        keys: view?.keys ?? 0,
        inSync: view !== undefined && (view.self.role === "master" || view.inSync),
      })),
      problems,
      actions: { ...this.#counts },
    };
  }
}

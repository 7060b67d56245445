import { lookup } from "node:dns/promises";
import { readFile, rename, writeFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import type { Logger } from "pino";
import { nextAddresses } from "../core/edge-addresses.ts";
import {
  decideRoute,
  isSameWay,
  parseRoute,
  printRoute,
  UNKNOWN_ROUTE,
  type KnownRoute,
  type RouteFile,
  type SeenAnswer,
} from "../core/edge-route.ts";
import type { EdgeSidecarConfig } from "../core/edge-sidecar-config.ts";
import { ControllerClient } from "./controller-client.ts";

/** Gives the addresses of a name. */
export type Resolve = (host: string) => Promise<readonly string[]>;

export interface FollowerStatus {
  readonly region: string;
  readonly epoch: number | undefined;
  /** Region whose API serves what comes to this edge. */
  readonly serves: string;
  /** Addresses of that region's edge; empty where it is this one, and where its name never resolved. */
  readonly addresses: readonly string[];
  /** When the controller answered last, ISO 8601; undefined before the first time. */
  readonly heardAt: string | undefined;
  /** Why the last question changed nothing, or what it said. */
  readonly cause: string;
  /** Route files written since the start. */
  readonly changes: number;
}

/** Asks who is active, again and again, and tells NGINX where requests go. What it knows is in the file that it writes:
 *  a restart goes on from there. */
export class Follower {
  readonly #config: EdgeSidecarConfig;
  readonly #log: Logger;
  readonly #resolve: Resolve;
  readonly #client: ControllerClient;
  #known: KnownRoute = UNKNOWN_ROUTE;
  /** What NGINX was told; no file says the same as a local route. */
  #written: RouteFile = { ...UNKNOWN_ROUTE, addresses: [] };
  #addressesAt = -Infinity;
  #resolvedAt = -Infinity;
  #resolving = false;
  #heardAt: string | undefined;
  #cause = "not asked yet";
  #changes = 0;
  #ready = false;
  #endedAt = performance.now();
  readonly #startedAt = performance.now();

  constructor(config: EdgeSidecarConfig, log: Logger, resolve: Resolve = resolveName) {
    this.#config = config;
    this.#log = log;
    this.#resolve = resolve;
    this.#client = new ControllerClient(config);
  }

  get status(): FollowerStatus {
    const { route } = this.#written;
    return {
      region: this.#config.region,
      epoch: this.#known.epoch,
      serves: route.to === "local" ? this.#config.region : route.region,
      addresses: this.#written.addresses,
      heardAt: this.#heardAt,
      cause: this.#cause,
      changes: this.#changes,
    };
  }

  /** Whether the loop goes round. Says nothing of the controller: without it the edge goes on as before. */
  get alive(): boolean {
    const { pollMillis, callTimeoutMillis } = this.#config;
    return performance.now() - this.#endedAt < 10_000 + 3 * pollMillis + 5 * callTimeoutMillis;
  }

  /** Whether NGINX has been told where requests go, or nobody has said so for long enough: a pod that just starts in a
   *  region that is not active shall not take requests that it would serve itself. Once true it stays true. */
  get ready(): boolean {
    return this.#ready || performance.now() - this.#startedAt >= this.#config.firstAnswerMillis;
  }

  /** Runs until aborted. Errors of single rounds are logged and the loop goes on. */
  async run(signal: AbortSignal): Promise<void> {
    await this.#remember();
    try {
      while (!signal.aborted) {
        try {
          await this.once(signal);
        } catch (error) {
          this.#log.error({ event: "round-failed", err: error }, "the route could not be brought up to date");
        }
        this.#endedAt = performance.now();
        await sleep(this.#config.pollMillis, undefined, { signal }).catch(() => {});
      }
    } finally {
      this.#client.close();
    }
  }

  /** One question and what follows from it.
   *  @throws Error when the file cannot be written; the next round tries again */
  async once(signal: AbortSignal): Promise<void> {
    const { known, cause } = decideRoute(this.#config.region, this.#known, await this.#ask(signal));
    if (signal.aborted) return;
    this.#known = known;
    if (cause !== this.#cause) this.#log.info({ event: "answer", epoch: known.epoch, cause }, cause);
    this.#cause = cause;
    const file: RouteFile = { ...known, addresses: await this.#addressesOf(known) };
    if (!isSameWay(file, this.#written)) await this.#write(file);
    this.#ready ||= known.epoch !== undefined;
  }

  async #remember(): Promise<void> {
    const text = await readFile(this.#config.routeFile, "utf8").catch(() => "");
    const file = parseRoute(text);
    if (!file) return;
    this.#written = file;
    this.#known = { epoch: file.epoch, route: file.route };
    this.#log.info({ event: "remembered", epoch: file.epoch, route: file.route }, "goes on with the route of before");
  }

  async #ask(signal: AbortSignal): Promise<SeenAnswer | undefined> {
    try {
      const answer = await this.#client.ask(signal);
      this.#heardAt = new Date().toISOString();
      return answer;
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      // Said once: the cause that follows from it stands until the controller is back.
      if (!signal.aborted && this.#heardAt !== undefined && !this.#cause.startsWith("the region controller did not"))
        this.#log.warn({ event: "controller-silent", reason }, `the region controller did not answer: ${reason}`);
      return undefined;
    }
  }

  async #addressesOf({ route }: KnownRoute): Promise<readonly string[]> {
    if (route.to === "local") return [];
    const { route: before, addresses } = this.#written;
    const current = before.to === "remote" && before.host === route.host ? addresses : [];
    const now = performance.now();
    if (current.length > 0 && now - this.#resolvedAt < this.#config.resolveMillis) return current;
    this.#resolvedAt = now;
    const next = nextAddresses(current, await this.#lookUp(route.host), {
      sinceChangeMillis: now - this.#addressesAt,
      holdMillis: this.#config.addressMillis,
    });
    if (next !== current) this.#addressesAt = now;
    return next;
  }

  /** undefined where the name does not resolve in time. A slow resolver is not asked a second time meanwhile. */
  async #lookUp(host: string): Promise<readonly string[] | undefined> {
    if (this.#resolving) return undefined;
    this.#resolving = true;
    const found = this.#resolve(host)
      .catch((error: unknown) => {
        const reason = error instanceof Error ? error.message : String(error);
        this.#log.warn({ event: "name-unresolved", host, reason }, `${host} does not resolve: ${reason}`);
        return undefined;
      })
      .finally(() => (this.#resolving = false));
    return Promise.race([found, sleep(this.#config.callTimeoutMillis, undefined, { ref: false })]);
  }

  /** Whole, by rename: NGINX never reads half of it. The name in between is none that NGINX includes. */
  async #write(file: RouteFile): Promise<void> {
    const { routeFile, peer } = this.#config;
    await writeFile(`${routeFile}.new`, printRoute(file, peer), { mode: 0o644 });
    await rename(`${routeFile}.new`, routeFile);
    this.#written = file;
    this.#changes += 1;
    const { epoch, route, addresses } = file;
    this.#log.info(
      { event: "route", epoch, route, addresses, cause: this.#cause },
      route.to === "local" ? "requests are served here" : `requests are passed to ${route.host}`,
    );
  }
}

async function resolveName(host: string): Promise<readonly string[]> {
  return (await lookup(host, { all: true })).map(({ address }) => address);
}

import type { Server } from "node:http";
import type { LookupFunction } from "node:net";
import type { Logger } from "pino";
import { activityMillis } from "../core/region-activity.ts";
import { birth } from "../core/region-birth.ts";
import type { RegionConfig } from "../core/region-config.ts";
import { metricsText } from "../core/region-metrics.ts";
import { fingerprint, TOPOLOGY, topologyFingerprint } from "../core/region-secrets.ts";
import type { BirthAnswer, RegionStatus, WitnessMember } from "../core/region-status.ts";
import { Activity } from "./activity.ts";
import { Consistency } from "./consistency.ts";
import { Database } from "./database.ts";
import { Digests } from "./digest.ts";
import { Loop } from "./loop.ts";
import type { CreateSessionSync, SessionSync } from "./parts.ts";
import { Peers, STATUS_TIMEOUT_MILLIS } from "./peers.ts";
import { ProblemLog } from "./problem-log.ts";
import { Replication } from "./replication.ts";
import { ControllerServer } from "./server.ts";
import { serveStatus } from "./status-server.ts";
import { readSecret, TlsFiles } from "./tls.ts";
import { activeAnswer, allProblems, birthInput, type Knowledge } from "./views.ts";
import { WitnessClient } from "./witness-client.ts";

/** Pause between two looks at the members of the witness, and at the shared secrets, in milliseconds. */
const SLOW_MILLIS = 5000;

export interface ControllerOptions {
  readonly config: RegionConfig;
  readonly log: Logger;
  /** Makes the part that keeps sessions in step; without it no session leaves its region. */
  readonly sessions?: CreateSessionSync | undefined;
  /** Resolves names in place of the machine's resolver. */
  readonly lookup?: LookupFunction;
}

/** The region controller: holds activity while its region has it, tells databases what to become, watches the ways of
 *  data into its region, and says what is wrong. It never promotes, demotes or overwrites a database. */
export class RegionController {
  readonly #config: RegionConfig;
  readonly #log: Logger;
  readonly #createSessions: CreateSessionSync | undefined;
  readonly #tls: TlsFiles;
  readonly #witness: WitnessClient;
  readonly #database: Database;
  readonly #digests: Digests;
  readonly #peers: Peers;
  readonly #activity: Activity;
  readonly #replication: Replication;
  readonly #problems: ProblemLog;
  readonly #startedAt = new Date().toISOString();
  #consistency: Consistency | undefined;
  #sessions: SessionSync | undefined;
  #members: readonly WitnessMember[] = [];
  #fingerprints: Readonly<Record<string, string>> = {};
  #loops: readonly Loop[] = [];
  #birth = "";
  #ports = { controller: 0, status: 0 };

  constructor({ config, log, sessions, lookup }: ControllerOptions) {
    this.#config = config;
    this.#log = log;
    this.#createSessions = sessions;
    this.#tls = new TlsFiles(config.tls, lookup);
    this.#witness = new WitnessClient(config, this.#tls);
    this.#database = new Database(config, this.#tls);
    this.#digests = new Digests(config, this.#tls, this.#database);
    this.#peers = new Peers(config, this.#tls);
    this.#activity = new Activity(config, this.#witness, this.#database, log);
    this.#replication = new Replication(config, {
      database: this.#database,
      peers: this.#peers,
      log,
      active: () => this.#activeRegion(),
    });
    this.#problems = new ProblemLog(log);
  }

  /** Ports that are listened on; known once `run` has logged `started`. */
  get ports(): { readonly controller: number; readonly status: number } {
    return this.#ports;
  }

  /** Runs until aborted, then ends what is in flight. Activity is not given back: a controller that comes back within the
   *  lease's time to live goes on with it.
   *  @throws when a port cannot be listened on, or the certificate cannot be read */
  async run(signal: AbortSignal): Promise<void> {
    const stop = new AbortController();
    const ended = AbortSignal.any([signal, stop.signal]);
    // What waits for a database would wait for its time-out.
    ended.addEventListener("abort", () => void Promise.all([this.#database.close(), this.#digests.close()]));
    const server = new ControllerServer(this.#config, this.#tls, this.#answers(), this.#log);
    let status: Server | undefined;
    try {
      this.#sessions = this.#createSessions?.(this.#config, {
        log: this.#log,
        activeSource: () => this.#sourceOfContent(),
        epoch: () => this.#activity.epoch,
        request: (region, path, own) => this.#peers.request(region, path, own),
        ...(this.#tls.lookup ? { lookup: this.#tls.lookup } : {}),
      });
      this.#consistency = new Consistency({
        region: this.#config.region,
        digests: this.#digests,
        log: this.#log,
        source: () => this.#comparedWith(),
        request: (region, path, own) => this.#peers.request(region, path, own),
        sessions: this.#sessions,
      });
      this.#loops = this.#makeLoops();
      const controller = await server.listen();
      status = await serveStatus(
        {
          alive: () => this.#loops.every((loop) => loop.alive),
          status: () => ({ ...this.status(), fingerprints: {} }),
          metrics: () => metricsText(this.status(), { witnessAgeMillis: this.#activity.ageMillis }),
        },
        this.#config.listen.status,
      );
      const address = status.address();
      this.#ports = { controller, status: typeof address === "object" && address ? address.port : 0 };
      this.#log.info(
        {
          event: "started",
          role: this.#config.role,
          peers: this.#peers.names,
          ports: this.#ports,
          cause: "process start",
        },
        "region controller started",
      );
      await Promise.all([
        ...this.#loops.map((loop) => loop.run(ended)),
        ...(this.#sessions ? [this.#sessions.run(ended)] : []),
      ]);
    } finally {
      stop.abort();
      status?.close();
      status?.closeAllConnections();
      await server.close();
      await Promise.all([this.#database.close(), this.#digests.close()]);
      this.#tls.close();
      this.#log.info({ event: "stopped", cause: "told to" }, "region controller stopped");
    }
  }

  /** Everything that is known of the region, fingerprints of secrets included. */
  status(): RegionStatus {
    const { region } = this.#config;
    const links = [...this.#replication.links(), ...(this.#sessions?.links() ?? [])];
    return {
      region,
      now: new Date().toISOString(),
      startedAt: this.#startedAt,
      active: this.#activity.active,
      witness: {
        reachable: this.#activity.reachable,
        members: this.#members,
        lastError: this.#activity.lastError,
      },
      database: this.#database.last.status,
      links,
      consistency: this.#consistency!.status,
      problems: allProblems(this.#known),
      fingerprints: this.#fingerprints,
    };
  }

  #makeLoops(): Loop[] {
    const { witness, monitor, postgres, regions } = this.#config;
    const log = this.#log;
    const members = Object.keys(regions).length;
    const loop = (
      name: string,
      intervalMillis: number,
      limitMillis: number,
      step: (signal: AbortSignal) => Promise<void>,
    ) => new Loop(name, { intervalMillis, limitMillis, log }, step);
    return [
      loop("activity", activityMillis(witness.leaseTtlSeconds), 8 * members * witness.callTimeoutMillis, (s) =>
        this.#activity.step(s),
      ),
      loop("replication", monitor.intervalMillis, 10 * postgres.callTimeoutMillis + STATUS_TIMEOUT_MILLIS, (s) =>
        this.#replication.step(s),
      ),
      ...this.#peers.names.map((name) =>
        loop(`peer-${name}`, monitor.intervalMillis, STATUS_TIMEOUT_MILLIS, (s) => this.#peers.ask(name, s)),
      ),
      loop("watch", SLOW_MILLIS, 4 * witness.callTimeoutMillis, (s) => this.#watch(s)),
      loop("consistency", monitor.consistencyMillis, 600_000, (s) => this.#consistency!.round(s)),
    ];
  }

  async #watch(signal: AbortSignal): Promise<void> {
    this.#members = await this.#witness.members(signal);
    const entries = Object.entries(this.#config.secrets).map(
      async ([name, file]) => [name, fingerprint(name, await readSecret(file))] as const,
    );
    const topology = [TOPOLOGY, topologyFingerprint(this.#config)] as const;
    this.#fingerprints = Object.fromEntries([...(await Promise.all(entries)), topology]);
    this.#problems.update(allProblems(this.#known), this.#activity.active?.epoch);
  }

  /** The region that is active, or was last, by the best word there is: the witness', however old, then the peers', then
   *  the configuration's. */
  #activeRegion(): string | undefined {
    const byPeers = this.#peers.words
      .flatMap(({ active }) => (active ? [active] : []))
      .sort((a, b) => b.epoch - a.epoch)[0];
    const { regions } = this.#config;
    return (
      this.#activity.named ?? byPeers?.region ?? Object.keys(regions).find((name) => regions[name]!.initiallyActive)
    );
  }

  /** Region that content is taken from: the active one, unless that is this one. */
  #sourceOfContent(): string | undefined {
    const named = this.#activity.named;
    return named === this.#config.region ? undefined : named;
  }

  /** Region that content is compared with: only by a standby that copies the active region's own database. */
  #comparedWith(): string | undefined {
    const source = this.#sourceOfContent();
    const { state, systemId } = this.#database.last.status;
    const theirs = source === undefined ? undefined : this.#peers.status(source)?.database;
    return state === "standby" && theirs?.state === "primary" && theirs.systemId === systemId ? source : undefined;
  }

  get #known(): Knowledge {
    return {
      config: this.#config,
      activity: this.#activity,
      database: this.#database,
      peers: this.#peers,
      replication: this.#replication,
      consistency: this.#consistency!,
      members: this.#members,
      fingerprints: this.#fingerprints,
    };
  }

  #answers() {
    return {
      active: () => activeAnswer(this.#known),
      birth: (): BirthAnswer => {
        const answer = birth(birthInput(this.#known));
        // Who waits asks again and again.
        const said = JSON.stringify(answer);
        if (said !== this.#birth) {
          this.#log.info(
            { event: "birth", as: answer.as, epoch: this.#activity.active?.epoch, cause: answer.cause },
            `an empty database is told to ${answer.as === "wait" ? "wait" : `be a ${answer.as}`}: ${answer.cause}`,
          );
          this.#birth = said;
        }
        return answer;
      },
      status: () => this.status(),
      position: () => this.#database.position(),
      digest: (query: Parameters<Digests["read"]>[0]) => this.#digests.read(query),
      sessions: async (path: string, query: URLSearchParams, signal: AbortSignal) =>
        this.#sessions?.handle(path, query, signal),
    };
  }
}

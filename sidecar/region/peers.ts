import { z } from "zod";
import type { PeerWord } from "../core/region-birth.ts";
import type { RegionConfig } from "../core/region-config.ts";
import type { RegionStatus } from "../core/region-status.ts";
import type { Position } from "./database.ts";
import { callJson } from "./https.ts";
import { reasonOf } from "./loop.ts";
import type { TlsFiles } from "./tls.ts";

/** Time-out of a question for state, in milliseconds: several times the way there and back over any WAN. */
export const STATUS_TIMEOUT_MILLIS = 2000;
/** Time-out of a question whose answer is work. */
const WORK_TIMEOUT_MILLIS = 15_000;

/** The parts of a peer's word that decisions rest on; a controller of another version may say more. */
const peerStatus = z.looseObject({
  region: z.string(),
  active: z.object({ region: z.string(), epoch: z.int(), since: z.string() }).optional(),
  database: z.looseObject({
    state: z.enum(["primary", "standby", "starting", "unreachable"]),
    systemId: z.string().optional(),
    timeline: z.int().optional(),
    lsn: z.string().optional(),
    source: z.string().optional(),
    streaming: z.boolean(),
    slots: z.array(z.looseObject({ name: z.string(), active: z.boolean() })),
  }),
  fingerprints: z.record(z.string(), z.string()),
});
const positionAnswer = z.looseObject({
  at: z.number(),
  lsn: z.string(),
  timeline: z.int().optional(),
  history: z.array(z.tuple([z.int(), z.string()])),
});

interface Peer {
  status: RegionStatus | undefined;
  /** Kept when it goes silent: data does not go away with a controller. */
  systemId: string | undefined;
  lastError: string | undefined;
  /** Whether it was asked at all, with or without an answer. */
  asked: boolean;
}

/** The other regions' controllers. */
export class Peers {
  readonly #config: RegionConfig;
  readonly #tls: TlsFiles;
  readonly #peers: ReadonlyMap<string, Peer>;

  constructor(config: RegionConfig, tls: TlsFiles) {
    this.#config = config;
    this.#tls = tls;
    const others = Object.keys(config.regions).filter((name) => name !== config.region);
    this.#peers = new Map(
      others.map((name) => [name, { status: undefined, systemId: undefined, lastError: undefined, asked: false }]),
    );
  }

  get names(): string[] {
    return [...this.#peers.keys()];
  }

  /** What a peer said last; undefined while it does not answer. */
  status(region: string): RegionStatus | undefined {
    return this.#peers.get(region)?.status;
  }

  /** Whether every peer was asked since the start. */
  get allAsked(): boolean {
    return [...this.#peers.values()].every(({ asked }) => asked);
  }

  get words(): PeerWord[] {
    return [...this.#peers].map(([region, { status, systemId }]) => ({
      region,
      reachable: status !== undefined,
      active: status?.active,
      hasData: systemId !== undefined,
      serves:
        status?.database.state === "primary" || (status?.database.state === "standby" && status.database.streaming),
    }));
  }

  /** Asks one peer how it is.
   *  @throws when it does not answer, or is not the region it should be */
  async ask(region: string, signal?: AbortSignal): Promise<void> {
    const peer = this.#peers.get(region)!;
    try {
      const status = peerStatus.parse(await this.request(region, "/status?full", signal, STATUS_TIMEOUT_MILLIS));
      if (status.region !== region) throw new Error(`it says that it is ${status.region}`);
      peer.status = status as unknown as RegionStatus;
      // Where a database was and is no more, its controller says so.
      peer.systemId = status.database.systemId ?? (status.database.state === "unreachable" ? peer.systemId : undefined);
      peer.lastError = undefined;
    } catch (error) {
      peer.status = undefined;
      peer.lastError = reasonOf(error);
      throw new Error(`the controller of ${region}: ${reasonOf(error)}`, { cause: error });
    } finally {
      peer.asked = true;
    }
  }

  async position(region: string, signal?: AbortSignal): Promise<Position> {
    const answer = await this.request(region, "/position", signal, STATUS_TIMEOUT_MILLIS);
    return positionAnswer.parse(answer) as unknown as Position;
  }

  /** Asks a peer's controller anything.
   *  @throws when it does not answer in time, or refuses */
  request(region: string, path: string, signal?: AbortSignal, timeoutMillis = WORK_TIMEOUT_MILLIS): Promise<unknown> {
    const controller = this.#config.regions[region]?.controller;
    if (!controller) return Promise.reject(new Error(`no region ${region} is known`));
    const url = `https://${controller.host}:${controller.port}${path}`;
    return callJson(this.#tls, url, { timeoutMillis, signal });
  }
}

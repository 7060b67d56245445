import { z } from "zod";
import type { RegionConfig } from "../core/region-config.ts";
import type { TimelineHistory } from "../core/region-conflicts.ts";
import { call, callJson } from "./https.ts";
import { readSecret, type TlsFiles } from "./tls.ts";

/** What a member of the local cluster says of itself: the part of Patroni's answer that is used. */
const memberStatus = z.object({
  state: z.string(),
  role: z.string(),
  timeline: z.int().optional(),
  database_system_identifier: z.string().optional(),
  replication_state: z.string().optional(),
  xlog: z.object({ location: z.number().optional(), replayed_location: z.number().nullish() }).optional(),
});
export type MemberStatus = z.infer<typeof memberStatus>;

const standbyCluster = z.object({
  host: z.string().optional(),
  port: z.union([z.int(), z.string()]).optional(),
  primary_slot_name: z.string().optional(),
});
const dynamicConfig = z.object({ standby_cluster: standbyCluster.nullish() });

const cluster = z.object({ members: z.array(z.object({ role: z.string() })) });

/** Where a standby cluster streams from, as configured. */
export interface StandbySource {
  readonly host: string;
  readonly port: number;
  readonly slot: string;
}

export interface PatroniLook {
  readonly leader: { readonly url: string; readonly status: MemberStatus } | undefined;
  /** Members that answered, the leader included. */
  readonly answered: readonly MemberStatus[];
  /** Whether the cluster is configured as a standby; undefined while that is not known. */
  readonly isStandbyCluster: boolean | undefined;
  readonly source: StandbySource | undefined;
}

/** The region's own Patroni, through the REST API of its members. Reads, and changes one thing: where an existing standby
 *  cluster streams from. */
export class Patroni {
  readonly #config: RegionConfig["postgres"];
  readonly #tls: TlsFiles;

  constructor(config: RegionConfig, tls: TlsFiles) {
    this.#config = config.postgres;
    this.#tls = tls;
  }

  /** Asks every member. Never throws for members that do not answer. */
  async look(signal?: AbortSignal): Promise<PatroniLook> {
    const answers = await Promise.all(
      this.#config.patroni.map(async (url) => {
        try {
          const { status, body } = await call(this.#tls, `${trimmed(url)}/leader`, this.#options(signal));
          // 503 is the answer of all members that do not lead, and holds the same.
          if (status !== 200 && status !== 503) return undefined;
          const member = memberStatus.parse(JSON.parse(body.toString("utf8")));
          return { url: trimmed(url), leads: status === 200, status: member };
        } catch {
          return undefined;
        }
      }),
    );
    const members = answers.filter((answer) => answer !== undefined);
    const leader = members.find(({ leads, status }) => leads && status.state === "running");
    const asked = leader ?? members[0];
    const config = asked && (await this.#dynamicConfig(asked.url, signal).catch(() => undefined));
    return {
      leader,
      answered: members.map(({ status }) => status),
      isStandbyCluster: config && isStandby(config),
      source: config?.standby_cluster ? sourceOf(config.standby_cluster) : undefined,
    };
  }

  /** Where each timeline of the cluster ended. */
  async history(url: string, signal?: AbortSignal): Promise<TimelineHistory> {
    const answer = await callJson(this.#tls, `${url}/history`, this.#options(signal));
    return z
      .array(z.tuple([z.int(), z.union([z.number(), z.string()])], z.unknown()))
      .parse(answer)
      .map(([timeline, position]) => [timeline, String(position)] as const);
  }

  /** Makes an existing standby cluster stream from elsewhere. Does nothing when the cluster is none, or is one that
   *  streams from there already: a standby cluster is never made and never ended here.
   *
   *  Patroni has no conditional change. Its `/config` is as old as its last round (loop_wait), so `/cluster`, which is read
   *  anew for each answer, has the last word. What remains is the moment between that answer and the change: whoever
   *  promotes a standby cluster by hand stops the region controller first, and what promotes by itself must do so in this
   *  process, never at the same time as this.
   *  @returns whether anything was changed */
  async streamFrom(url: string, source: StandbySource, signal?: AbortSignal): Promise<boolean> {
    const { patroniUser, patroniPasswordFile } = this.#config;
    const [config, password] = await Promise.all([this.#dynamicConfig(url, signal), readSecret(patroniPasswordFile)]);
    if (!isStandby(config)) return false;
    const present = sourceOf(config.standby_cluster!);
    if (present?.host === source.host && present.port === source.port && present.slot === source.slot) return false;
    if (!(await this.#isStandbyNow(url, signal))) return false;
    await callJson(this.#tls, `${url}/config`, {
      ...this.#options(signal),
      method: "PATCH",
      headers: { authorization: `Basic ${Buffer.from(`${patroniUser}:${password}`).toString("base64")}` },
      body: { standby_cluster: { host: source.host, port: source.port, primary_slot_name: source.slot } },
    });
    return true;
  }

  async #isStandbyNow(url: string, signal?: AbortSignal): Promise<boolean> {
    const { members } = cluster.parse(await callJson(this.#tls, `${url}/cluster`, this.#options(signal)));
    return members.some(({ role }) => role === "standby_leader") && !members.some(({ role }) => role === "leader");
  }

  async #dynamicConfig(url: string, signal?: AbortSignal): Promise<z.infer<typeof dynamicConfig>> {
    return dynamicConfig.parse(await callJson(this.#tls, `${url}/config`, this.#options(signal)));
  }

  #options(signal: AbortSignal | undefined) {
    return { timeoutMillis: this.#config.callTimeoutMillis, signal };
  }
}

/** As Patroni sees it: a section without an address makes no standby cluster. */
function isStandby({ standby_cluster: section }: z.infer<typeof dynamicConfig>): boolean {
  return section !== undefined && section !== null && (section.host !== undefined || section.port !== undefined);
}

function sourceOf({ host, port = 5432, primary_slot_name: slot = "" }: z.infer<typeof standbyCluster>) {
  return host === undefined ? undefined : { host, port: Number(port), slot };
}

function trimmed(url: string): string {
  return url.replace(/\/+$/, "");
}

import type { Compare, KeyValue, Transaction } from "../core/region-activity.ts";
import type { RegionConfig } from "../core/region-config.ts";
import type { WitnessMember } from "../core/region-status.ts";
import { call, StatusError } from "./https.ts";
import { reasonOf } from "./loop.ts";
import { readSecret, type TlsFiles } from "./tls.ts";

/** How long a member that did not answer is asked last, in milliseconds. */
const SHUN_MILLIS = 10_000;

interface Endpoint {
  readonly region: string;
  readonly url: string;
  token: string | undefined;
  shunnedUntil: number;
}

type Json = Readonly<Record<string, unknown>>;

/** The witness (etcd) over its JSON gateway. A call goes to one member after the other, the region's own first, until one
 *  answers; a member that did not answer lately is asked last. What a time-out leaves unknown, a repetition does not make
 *  worse: every write is a transaction that holds only once. */
export class WitnessClient {
  readonly #tls: TlsFiles;
  readonly #config: RegionConfig["witness"];
  readonly #endpoints: readonly Endpoint[];

  constructor(config: RegionConfig, tls: TlsFiles) {
    this.#tls = tls;
    this.#config = config.witness;
    const regions = Object.entries(config.regions).sort(
      ([a, one], [b, two]) => Number(b === config.region) - Number(a === config.region) || one.priority - two.priority,
    );
    this.#endpoints = regions.map(([region, { witness }]) => ({
      region,
      url: witness.replace(/\/+$/, ""),
      token: undefined,
      shunnedUntil: -Infinity,
    }));
  }

  /** All keys with this prefix, and the single key, as of one revision, confirmed by a majority. */
  async read(prefix: string, key: string, signal?: AbortSignal): Promise<KeyValue[]> {
    const range = (from: string, to?: string) => ({
      requestRange: { key: encode(from), ...(to === undefined ? {} : { rangeEnd: encode(to) }) },
    });
    const answer = await this.#ask("/v3/kv/txn", { success: [range(prefix, after(prefix)), range(key)] }, signal);
    const responses = (answer["responses"] ?? []) as { response_range?: { kvs?: RawKeyValue[] } }[];
    return responses.flatMap(({ response_range }) => (response_range?.kvs ?? []).map(keyValue));
  }

  /** Carries out a transaction.
   *  @returns whether its conditions held */
  async commit({ compare, puts }: Transaction, signal?: AbortSignal): Promise<boolean> {
    const answer = await this.#ask(
      "/v3/kv/txn",
      {
        compare: compare.map(rawCompare),
        success: puts.map(({ key, value, lease }) => ({
          requestPut: { key: encode(key), value: encode(value), ...(lease === undefined ? {} : { lease }) },
        })),
      },
      signal,
    );
    return answer["succeeded"] === true;
  }

  /** A new lease.
   *  @returns its id, a decimal number of 64 bits as text */
  async grant(ttlSeconds: number, signal?: AbortSignal): Promise<string> {
    const answer = await this.#ask("/v3/lease/grant", { TTL: String(ttlSeconds), ID: "0" }, signal);
    const id = answer["ID"];
    if (typeof id !== "string" || !/^-?[0-9]+$/.test(id)) throw new Error("the witness granted a lease without an id");
    return id;
  }

  /** Renews a lease.
   *  @returns seconds that it now lives; 0 when it is gone */
  async keepAlive(lease: string, signal?: AbortSignal): Promise<number> {
    const answer = await this.#ask("/v3/lease/keepalive", { ID: lease }, signal);
    // The answer to a dead lease is a success without a time to live.
    const { TTL } = (answer["result"] ?? {}) as { TTL?: string };
    return Number(TTL ?? 0);
  }

  /** What each member says of itself. */
  members(signal?: AbortSignal): Promise<WitnessMember[]> {
    return Promise.all(
      this.#endpoints.map(async (endpoint): Promise<WitnessMember> => {
        try {
          // Without a token: a member tells this also when there is no majority to log in with.
          const anonymous = { ...endpoint, token: undefined };
          const answer = await this.#post(anonymous, "/v3/maintenance/status", {}, signal);
          const { header, leader = "0", errors = [], version = "" } = answer as MemberStatus;
          return {
            region: endpoint.region,
            healthy: leader !== "0" && errors.length === 0,
            leader: leader !== "0" && leader === header?.member_id,
            version,
          };
        } catch {
          return { region: endpoint.region, healthy: false, leader: false, version: "" };
        }
      }),
    );
  }

  async #ask(path: string, body: Json, signal: AbortSignal | undefined): Promise<Json> {
    const failures: string[] = [];
    for (const endpoint of this.#inOrder()) {
      try {
        const answer = await this.#send(endpoint, path, body, signal);
        endpoint.shunnedUntil = -Infinity;
        return answer;
      } catch (error) {
        if (signal?.aborted) throw error;
        if (error instanceof StatusError && isFinal(error)) throw error;
        endpoint.shunnedUntil = performance.now() + SHUN_MILLIS;
        failures.push(`${endpoint.region}: ${reasonOf(error)}`);
      }
    }
    throw new Error(`no member of the witness answered: ${failures.join("; ")}`);
  }

  #inOrder(): Endpoint[] {
    const now = performance.now();
    const shunned = (endpoint: Endpoint) => endpoint.shunnedUntil > now;
    return [
      ...this.#endpoints.filter((endpoint) => !shunned(endpoint)),
      ...this.#endpoints.filter(shunned).sort((a, b) => a.shunnedUntil - b.shunnedUntil),
    ];
  }

  /** One call to one member; logs in when it must. */
  async #send(endpoint: Endpoint, path: string, body: Json, signal: AbortSignal | undefined): Promise<Json> {
    endpoint.token ??= await this.#authenticate(endpoint, signal);
    try {
      return await this.#post(endpoint, path, body, signal);
    } catch (error) {
      // A token lives for five minutes without use, and not longer than the member's process.
      if (!(error instanceof StatusError && isExpired(error))) throw error;
      endpoint.token = await this.#authenticate(endpoint, signal);
      return await this.#post(endpoint, path, body, signal);
    }
  }

  async #authenticate(endpoint: Endpoint, signal: AbortSignal | undefined): Promise<string> {
    const { user, passwordFile } = this.#config;
    const password = await readSecret(passwordFile);
    const anonymous = { ...endpoint, token: undefined };
    const answer = await this.#post(anonymous, "/v3/auth/authenticate", { name: user, password }, signal);
    if (typeof answer["token"] !== "string") throw new Error("the witness gave no token");
    return answer["token"];
  }

  async #post(endpoint: Endpoint, path: string, body: Json, signal: AbortSignal | undefined): Promise<Json> {
    const url = `${endpoint.url}${path}`;
    const { status, body: answer } = await call(this.#tls, url, {
      method: "POST",
      headers: endpoint.token === undefined ? {} : { authorization: endpoint.token },
      body,
      timeoutMillis: this.#config.callTimeoutMillis,
      signal,
    });
    const text = answer.toString("utf8");
    const json = parse(text);
    // Errors inside a stream come with the status of a success.
    const error = json["error"];
    if (status === 200 && error === undefined) return json;
    const detail = typeof error === "string" ? error : ((error as { message?: string } | undefined)?.message ?? text);
    throw new StatusError(url, status, detail);
  }
}

interface MemberStatus {
  readonly header?: { readonly member_id?: string };
  /** Id of the leader; left out, or 0, while there is none. */
  readonly leader?: string;
  readonly errors?: readonly string[];
  readonly version?: string;
}

interface RawKeyValue {
  readonly key: string;
  readonly value?: string;
  readonly mod_revision?: string;
  readonly lease?: string;
}

function keyValue({ key, value = "", mod_revision = "0", lease = "0" }: RawKeyValue): KeyValue {
  return { key: decode(key), value: decode(value), modRevision: Number(mod_revision), lease };
}

function rawCompare(compare: Compare): Json {
  const key = encode(compare.key);
  switch (compare.is) {
    case "absent":
      return { key, result: "EQUAL", target: "CREATE", createRevision: "0" };
    case "unchanged":
      return { key, result: "EQUAL", target: "MOD", modRevision: String(compare.modRevision) };
    case "equal":
      return { key, result: "EQUAL", target: "VALUE", value: encode(compare.value) };
  }
}

/** Refusals that another member would only repeat. */
function isFinal({ status, message }: StatusError): boolean {
  return /permission denied|authentication failed|requested lease not found/.test(message) || status === 413;
}

function isExpired({ status, message }: StatusError): boolean {
  return status === 401 || /invalid auth token|user name is empty|revision of auth store is old/.test(message);
}

function parse(text: string): Json {
  try {
    return JSON.parse(text) as Json;
  } catch {
    return { error: text.trim() };
  }
}

/** The first key after all that begin with `prefix`. */
function after(prefix: string): string {
  return prefix.slice(0, -1) + String.fromCharCode(prefix.charCodeAt(prefix.length - 1) + 1);
}

const encode = (text: string) => Buffer.from(text, "utf8").toString("base64");
const decode = (text: string) => Buffer.from(text, "base64").toString("utf8");

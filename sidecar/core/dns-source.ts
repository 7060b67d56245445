/** CoreDNS logs in to the witness when it reads its configuration, and does not start, or not with the new one, where
 *  that fails; it never tries the same configuration twice. So the part that names the witness is kept apart, and is
 *  there only while CoreDNS can take it. */

/** What CoreDNS was given: by a fingerprint of password, certificates and addresses, and the number of the try. */
export interface Source {
  readonly fingerprint: string;
  readonly attempt: number;
}

export interface SourceState {
  /** What stands in the folder; undefined: nothing. */
  readonly given: Source | undefined;
  /** Configurations that CoreDNS had refused when it was last asked. */
  readonly refusals: number;
  /** Looks in a row at which nobody was there in CoreDNS' place. */
  readonly gone: number;
}

export interface SourceSight {
  /** Fingerprint of what would be given now. */
  readonly fingerprint: string;
  /** Whether the witness let the user in just now, which it does only with a majority. */
  readonly admitted: boolean;
  /** CoreDNS: up; gone, as its port is closed; unknown, as it did not answer in time. */
  readonly coredns: "up" | "gone" | "unknown";
  /** Configurations that CoreDNS has refused since its start; undefined where it did not tell. */
  readonly refusals: number | undefined;
}

/** Looks without CoreDNS after which it is held to be ending again and again for want of the witness. */
export const GONE_LOOKS = 3;

export type SourceAction = "give" | "take" | "keep";

/** What is to be done with the part that names the witness. While CoreDNS runs nothing is ever taken from it: without the
 *  witness it lives by its last answers, which a reload would drop. */
export function decideSource(state: SourceState, sight: SourceSight): { action: SourceAction; next: SourceState } {
  const gone = sight.coredns === "gone" ? state.gone + 1 : sight.coredns === "up" ? 0 : state.gone;
  const refusals = sight.refusals ?? state.refusals;
  const { given } = state;
  const keep = { action: "keep", next: { given, refusals, gone } } as const;
  if (!sight.admitted) {
    if (given === undefined || gone < GONE_LOOKS) return keep;
    return { action: "take", next: { given: undefined, refusals, gone } };
  }
  const refused = refusals > state.refusals;
  if (given?.fingerprint === sight.fingerprint && !refused) return keep;
  const attempt = given === undefined ? 0 : given.attempt + 1;
  return { action: "give", next: { given: { fingerprint: sight.fingerprint, attempt }, refusals, gone } };
}

import { activityMillis } from "../../sidecar/core/region-activity.ts";

/** What a lease's margin rests on, in milliseconds unless the name says otherwise. */
export interface LeaseTimings {
  readonly leaseTtlSeconds: number;
  /** Time-out of one call to one member of the witness. */
  readonly callMillis: number;
  /** The witness' election time-out. */
  readonly electionMillis: number;
  /** Most that the holder's clock and the witness' drift apart within the lease's time to live. */
  readonly skewMillis: number;
}

/** Calls of a round that may each run into their time-out: it reads and renews, and each may meet one member that hangs
 *  before another answers. The controller's settings count the same three. */
export const CALLS = 3;

/** Shortest times to live in milliseconds. */
export interface LeaseNeeds {
  /** Pause between two renewals. */
  readonly rhythm: number;
  /** So that the holder knows that it could not renew the lease before the witness lets it go: it counts from when it
   *  sent the last renewal that was answered, and its clock may be slower than the witness'. */
  readonly held: number;
  /** So that a change of the witness' leader, within twice the election time-out, does not cost the lease. */
  readonly elected: number;
}

export function leaseNeeds({ leaseTtlSeconds, callMillis, electionMillis, skewMillis }: LeaseTimings): LeaseNeeds {
  const rhythm = activityMillis(leaseTtlSeconds);
  return {
    rhythm,
    held: rhythm + CALLS * callMillis + skewMillis,
    elected: rhythm + 2 * electionMillis + callMillis + skewMillis,
  };
}

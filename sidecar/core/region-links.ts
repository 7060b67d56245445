import { bytesBehind, reached } from "./lsn.ts";
import type { DatabaseStatus, LinkStatus } from "./region-status.ts";

/** Samples of a source that are kept at most; older ones are thinned out first. */
const MAX_SAMPLES = 600;

/** Where a source was at a time of its own clock. */
export interface SourceSample {
  /** The source's clock, milliseconds since 1970. Never compared with this region's clock. */
  readonly at: number;
  /** Position of the source: written on a primary, replayed on a standby. */
  readonly lsn: string;
}

/** A source's course over time. */
export interface SourceTrack {
  readonly source: string;
  readonly samples: readonly SourceSample[];
  /** When the newest sample arrived, by this process' monotonic clock in milliseconds. */
  readonly heardAt: number | undefined;
}

export function newTrack(source: string): SourceTrack {
  return { source, samples: [], heardAt: undefined };
}

/** Adds what a source said. A clock or a position that went back starts the course anew: another database, or another
 *  machine, now answers for the source. */
export function addSample(track: SourceTrack, sample: SourceSample, now: number): SourceTrack {
  const newest = track.samples.at(-1);
  if (newest && (sample.at < newest.at || !reached(sample.lsn, newest.lsn)))
    return { ...track, samples: [sample], heardAt: now };
  // While nothing is written only the newest time at that position matters.
  const before = newest?.lsn === sample.lsn ? track.samples.slice(0, -1) : track.samples;
  const samples = [...before, sample];
  return { ...track, samples: samples.length > MAX_SAMPLES ? thinned(samples) : samples, heardAt: now };
}

/** Drops samples that say little: a gap between two may be a fiftieth of their age. So the course of a day fits, and a
 *  lag is measured to 2 %. */
function thinned(samples: readonly SourceSample[]): SourceSample[] {
  const newest = samples.at(-1)!.at;
  const kept: SourceSample[] = [];
  samples.forEach((sample, i) => {
    const before = kept.at(-1);
    const next = samples[i + 1];
    if (before && next && next.at - before.at <= (newest - sample.at) / 50) return;
    kept.push(sample);
  });
  return kept.slice(-MAX_SAMPLES);
}

/**
 * Seconds by which position `replayed` is behind the source: the time, by the source's own clock, since it was there.
 * No two regions' clocks are compared. An upper bound, too high by one pause between samples at most; 0 when everything
 * the source told of is replayed. While the source is silent the lag grows with the silence (above `quietMillis`, which
 * a healthy pause between samples takes). Undefined before the source has spoken.
 */
export function lagSeconds(
  track: SourceTrack,
  replayed: string | undefined,
  now: number,
  quietMillis: number,
): number | undefined {
  const newest = track.samples.at(-1);
  if (!newest || track.heardAt === undefined || replayed === undefined) return undefined;
  const silence = Math.max(0, now - track.heardAt);
  const unheard = silence > quietMillis ? silence : 0;
  if (reached(replayed, newest.lsn)) return unheard / 1000;
  const passed = track.samples.findLast((sample) => reached(replayed, sample.lsn)) ?? track.samples[0]!;
  return (newest.at - passed.at + unheard) / 1000;
}

/** Errors of the last hour, newest last. */
export interface ErrorLog {
  readonly errors: readonly { readonly at: number; readonly message: string }[];
}
export const NO_ERRORS: ErrorLog = { errors: [] };
const HOUR_MILLIS = 3_600_000;
const MAX_ERRORS = 1000;

export function addError(log: ErrorLog, message: string, now: number): ErrorLog {
  return { errors: [...recent(log, now), { at: now, message }].slice(-MAX_ERRORS) };
}

function recent({ errors }: ErrorLog, now: number): ErrorLog["errors"] {
  return errors.filter(({ at }) => now - at < HOUR_MILLIS);
}

/** Number of errors in the last hour, and the newest of them. */
export function errorsOf(log: ErrorLog, now: number): { count: number; last: string | undefined } {
  const errors = recent(log, now);
  return { count: errors.length, last: errors.at(-1)?.message };
}

export interface PostgresLinkInput {
  readonly region: string;
  readonly track: SourceTrack;
  readonly own: DatabaseStatus;
  readonly errors: ErrorLog;
  /** Monotonic clock in milliseconds. */
  readonly now: number;
  readonly quietMillis: number;
  readonly maxLagSeconds: number;
  readonly maxErrors: number;
}

/** State of the stream of WAL into this region. §5.4.2: unhealthy over 30 s of lag or over 10 errors. */
export function postgresLink(input: PostgresLinkInput): LinkStatus {
  const { region, track, own, now, maxLagSeconds, maxErrors } = input;
  const newest = track.samples.at(-1);
  const lag = lagSeconds(track, own.lsn, now, input.quietMillis);
  const bytes = newest && own.lsn !== undefined ? bytesBehind(newest.lsn, own.lsn) : undefined;
  const { count, last } = errorsOf(input.errors, now);
  const complaints = [
    ...(own.state === "standby" ? [] : [`the database is ${own.state}`]),
    ...(own.state === "standby" && !own.streaming ? ["nothing is received from the source"] : []),
    ...(lag === undefined ? ["the lag is not known"] : []),
    ...(lag !== undefined && lag > maxLagSeconds ? [`${lag.toFixed(1)} s behind, over ${maxLagSeconds} s`] : []),
    ...(count > maxErrors ? [`${count} errors in the last hour, over ${maxErrors}`] : []),
  ];
  return {
    source: track.source,
    target: region,
    kind: "postgresql",
    healthy: complaints.length === 0,
    lagSeconds: lag,
    lagBytes: bytes,
    pendingKeys: undefined,
    errors: count,
    lastError: last,
    batches: undefined,
    detail: complaints.length > 0 ? complaints.join("; ") : `streams from ${track.source}`,
  };
}

import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);

export interface Load {
  readonly url: string;
  /** Host header. */
  readonly host: string;
  readonly connections: number;
  readonly seconds: number;
  /** Requests per second that all connections together send at most; default: as many as they can. */
  readonly rate?: number | undefined;
}

export interface LoadResult {
  readonly requests: number;
  readonly perSecond: number;
  readonly p99Millis: number;
  /** Requests that were not answered with a status of success. */
  readonly failed: number;
}

/** Sends load with wrk, each connection one request after the other.
 *  @throws when wrk fails, or its output is not what it was */
export async function wrk(load: Load): Promise<LoadResult> {
  const dir = await mkdtemp(join(tmpdir(), "iam-ha-wrk-"));
  try {
    const script = join(dir, "load.lua");
    // Pauses of random length, so that the connections do not march in step.
    const pause = load.rate === undefined ? undefined : (2 * load.connections * 1000) / load.rate;
    await writeFile(
      script,
      pause === undefined ? "" : `function delay() return math.random(0, ${Math.round(pause)}) end\n`,
    );
    const { stdout } = await run(
      "wrk",
      [
        "-t1",
        `-c${load.connections}`,
        `-d${load.seconds}s`,
        "--latency",
        "--timeout",
        "5s",
        "-H",
        `Host: ${load.host}`,
        "-s",
        script,
        load.url,
      ],
      { timeout: (load.seconds + 30) * 1000 },
    );
    return parseWrk(stdout);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

/** Reads what wrk prints. */
export function parseWrk(text: string): LoadResult {
  const find = (pattern: RegExp) => {
    const match = pattern.exec(text);
    if (!match) throw new Error(`wrk did not print what was expected (${String(pattern)}):\n${text}`);
    return match;
  };
  const requests = Number(find(/^ *([0-9]+) requests in /m)[1]);
  const [, value, unit] = find(/^ *99% +([0-9.]+)(us|ms|s|m) *$/m);
  const millis = { us: 0.001, ms: 1, s: 1000, m: 60_000 }[unit as "us" | "ms" | "s" | "m"];
  const statuses = Number(/Non-2xx or 3xx responses: ([0-9]+)/.exec(text)?.[1] ?? 0);
  const sockets =
    /Socket errors: connect ([0-9]+), read ([0-9]+), write ([0-9]+), timeout ([0-9]+)/.exec(text)?.slice(1) ?? [];
  return {
    requests,
    perSecond: Number(find(/^Requests\/sec: +([0-9.]+)$/m)[1]),
    p99Millis: Number(value) * millis,
    failed: sockets.reduce((sum, count) => sum + Number(count), statuses),
  };
}

import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { availableParallelism, loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { HOST, makeCertificates, RunningEdge } from "../../test/support/edge.ts";
import { installPackages } from "../images/apt.ts";
import { apiStandIn, API_ADDRESSES, asWritten } from "./nginx/configs.ts";
import { cpuSeconds } from "./nginx/cpu.ts";
import { wrk, type LoadResult } from "./nginx/wrk.ts";
import { median, report } from "./report.ts";

const CONNECTIONS = 32;
const ROUNDS = 5;
const ROUND_SECONDS = 5;
/** Share of the slower one's rate at which both are compared under equal load. */
const PACED_SHARE = 0.4;

interface Contender {
  readonly upstream: "plain" | "TLS";
  readonly name: "as written" | "ours";
  readonly edge: RunningEdge;
  readonly full: Figures[];
  readonly paced: Figures[];
}
interface Figures extends LoadResult {
  /** CPU time of NGINX for one request, in microseconds. */
  readonly cpuMicros: number;
}

/** NGINX with the edge's configuration against NGINX with the design's configuration as written in §5.1.1. */
export async function benchNginx(): Promise<void> {
  await installWrk();
  const certificates = mkdtempSync(join(tmpdir(), "iam-ha-bench-"));
  const running: RunningEdge[] = [];
  try {
    await makeCertificates(certificates);
    const processes = availableParallelism();
    const contenders: Contender[] = [];
    for (const upstream of ["plain", "TLS"] as const) {
      const tls = upstream === "TLS";
      const api = await RunningEdge.start(certificates, {
        upstream: { servers: ["127.0.0.2"], port: 1, tls: false },
        certificate: "api",
        replace: (ports) => apiStandIn(ports, tls),
      });
      running.push(api);
      const to = { servers: API_ADDRESSES, port: api.ports.https, tls };
      const limits = { api: { ratePerSecond: 1_000_000, burst: 1_000_000 } };
      const ours = await RunningEdge.start(certificates, {
        upstream: to,
        settings: { limits, workers: { processes } },
      });
      running.push(ours);
      const seed = await RunningEdge.start(certificates, {
        upstream: to,
        replace: (ports) => asWritten(ports, to, processes),
      });
      running.push(seed);
      contenders.push(
        { upstream, name: "as written", edge: seed, full: [], paced: [] },
        { upstream, name: "ours", edge: ours, full: [], paced: [] },
      );
    }
    for (const { edge } of contenders) await measure(edge, 1);
    // One after the other in turn, so that what else the machine does meets all of them.
    for (let round = 0; round < ROUNDS; round++) {
      for (const { edge, full } of contenders) full.push(await measure(edge, ROUND_SECONDS));
    }
    for (const upstream of ["plain", "TLS"] as const) {
      const pair = contenders.filter((contender) => contender.upstream === upstream);
      const rate = PACED_SHARE * Math.min(...pair.map(({ full }) => median(full.map(({ perSecond }) => perSecond))));
      for (let round = 0; round < ROUNDS; round++) {
        for (const { edge, paced } of pair) paced.push(await measure(edge, ROUND_SECONDS, rate));
      }
    }
    tell(contenders);
  } finally {
    for (const edge of running) await edge.stop();
    rmSync(certificates, { recursive: true, force: true });
  }
}

/** @throws when more than one request in a thousand fails: an error is answered faster than a request, and no figure */
async function measure(edge: RunningEdge, seconds: number, rate?: number): Promise<Figures> {
  const pid = await edge.pid();
  const before = cpuSeconds(pid);
  const result = await wrk({
    url: `https://127.0.0.1:${edge.ports.https}/api/users`,
    host: HOST,
    connections: CONNECTIONS,
    seconds,
    rate,
  });
  if (result.failed > result.requests / 1000) {
    throw new Error(
      `${result.failed} of ${result.requests} requests failed, so nothing is measured:\n${await edge.errorLog()}`,
    );
  }
  return { ...result, cpuMicros: ((cpuSeconds(pid) - before) * 1e6) / result.requests };
}

function tell(contenders: readonly Contender[]): void {
  const of = (figures: readonly Figures[], key: keyof Figures) => median(figures.map((figure) => figure[key]));
  const rows = contenders.map(({ upstream, name, full, paced }) => [
    upstream,
    name,
    of(full, "perSecond").toFixed(0),
    `${of(full, "p99Millis").toFixed(1)} ms`,
    `${of(full, "cpuMicros").toFixed(0)} µs`,
    of(paced, "perSecond").toFixed(0),
    `${of(paced, "p99Millis").toFixed(1)} ms`,
    `${of(paced, "cpuMicros").toFixed(0)} µs`,
    String([...full, ...paced].reduce((sum, { failed }) => sum + failed, 0)),
  ]);
  const ratio = (upstream: string, phase: "full" | "paced", key: keyof Figures) => {
    const [seed, ours] = ["as written", "ours"].map((name) =>
      contenders.find((c) => c.upstream === upstream && c.name === name)!,
    );
    return of(ours![phase], key) / of(seed![phase], key);
  };
  for (const upstream of ["plain", "TLS"]) {
    const columns = (["full", "paced"] as const).flatMap((phase) =>
      (["perSecond", "p99Millis", "cpuMicros"] as const).map((key) => `× ${ratio(upstream, phase, key).toFixed(2)}`),
    );
    rows.push([upstream, "**ours / as written**", ...columns, ""]);
  }
  report({
    name: "nginx",
    title: "NGINX: the edge's configuration against the design's as written",
    command: "npm run bench -- nginx",
    method:
      "Both run in the same NGINX 1.26 of the edge's image, on loopback, with the same number of workers, TLS towards the client, and the same three " +
      `stand-ins for the API (NGINX, 1 KiB of JSON). wrk with ${CONNECTIONS} connections; ${ROUNDS} rounds of ${ROUND_SECONDS} s, in turn; medians. First at full ` +
      `load, then both paced to ${PACED_SHARE * 100} % of the slower one's rate. "As written" reproduces what §5.1.1 does for a request: an upstream with least_conn ` +
      "and keepalive 32 but without `proxy_http_version 1.1` and an empty `Connection` header, so that each request has a connection of its own, and an access log that is " +
      "written line by line. Rate limits are lifted in both, as they would be all that is measured. TLS: both speak HTTPS to the API; ours checks the API's certificate " +
      "and shows its own, the other does neither.",
    header: [
      "API",
      "configuration",
      "requests/s, full load",
      "p99",
      "CPU/request",
      "requests/s, paced",
      "p99",
      "CPU/request",
      "failed",
    ],
    rows,
    remarks: [
      "wrk, NGINX and the stand-ins share the machine's cores: at full load the figures tell the cost of a whole request, not NGINX's own limit.",
      "CPU/request is NGINX's own, user and system; it depends less than the other figures on what else the machine does.",
      `Load average of the machine at the end: ${loadavg()[0]!.toFixed(0)} (${availableParallelism()} cores).`,
    ],
  });
}

async function installWrk(): Promise<void> {
  const there = (process.env["PATH"] ?? "").split(":").some((dir) => existsSync(join(dir, "wrk")));
  if (!there) await installPackages(["wrk"]);
}

import { spawn } from "node:child_process";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { DEFAULT_REGIONS } from "../../stacks/topology.ts";
import { bringUp } from "../commands/start.ts";
import { loadDeployment } from "../deployment.ts";
import { kubectl } from "../kubernetes.ts";
import { downRegions, parseRegion, runInRegion } from "../local/index.ts";
import { planInstance } from "../local/plan/instance.ts";
import { planRegion } from "../local/plan/regions.ts";
import { sharedPasswords } from "../local/values/passwords.ts";
import { ROOT } from "../paths.ts";
import { accessTo } from "../start/access.ts";
import { caFile, instanceFolder } from "../start/folders.ts";
import type { DatabaseAccess } from "./replication/connection.ts";
import { lags, parseStamps, percentile } from "./replication/figures.ts";
import { report } from "./report.ts";

const INSTANCE = process.env["IAM_HA_INSTANCE"] ?? "bench";
const ACTIVE = Object.keys(DEFAULT_REGIONS).find((name) => DEFAULT_REGIONS[name]!.role === "active")!;
const OTHERS = Object.keys(DEFAULT_REGIONS).filter((name) => name !== ACTIVE);
/** Writes per second and for how long: hardly any load, and the steady load of the targets. */
const LOADS = [
  { name: "idle, 2 writes/s", rate: 2, seconds: 30 },
  { name: "200 writes/s", rate: 200, seconds: 30 },
];

/** How far the other regions are behind the active one, over the emulated WAN: from a commit's acknowledgement to the
 *  row being readable there. One clock: all of it runs on this machine. */
export async function benchReplication(): Promise<void> {
  const ran = loadDeployment(INSTANCE).regions.length > 0;
  await bringUp({ regions: Object.keys(DEFAULT_REGIONS), instance: INSTANCE });
  try {
    const rows: string[][] = [];
    for (const load of LOADS) {
      const before = await sentBytes();
      const quiet = await trickle();
      const [written, ...seen] = await Promise.all([
        run(ACTIVE, "writer.ts", load.rate, load.seconds),
        ...OTHERS.map((region) => run(region, "reader.ts", load.rate * load.seconds, load.seconds + 60)),
      ]);
      const sent = (await sentBytes()) - before - quiet * (load.seconds + 1);
      OTHERS.forEach((region, i) => {
        const figures = lags(written, seen[i]!);
        const ms = (share: number) => `${percentile(figures, share).toFixed(1)} ms`;
        rows.push([
          load.name,
          region,
          String(figures.length),
          ms(0.5),
          ms(0.99),
          ms(1),
          `${Math.max(0, Math.round(sent / written.length))} B`,
        ]);
      });
    }
    report({
      name: "replication",
      title: "Lag of the standby regions, and what a write costs on the WAN",
      command: "npm run bench -- replication",
      method: `Rows of about 100 bytes written one after the other to ${ACTIVE}'s primary (quorum commit inside the region) while each other region's leader is asked every 2 ms for the newest row. The WAN is emulated with its default delays (scripts/local/wan.yaml). Bytes: what left ${ACTIVE} towards all other regions, less what leaves it without any writes.`,
      header: ["load", "region", "rows", "lag p50", "lag p99", "lag max", "WAN bytes/write, both regions"],
      rows,
      remarks: ["Target: p99 ≤ 1 s at 200 writes/s."],
    });
  } finally {
    if (!ran) await downRegions("all", { instance: INSTANCE, wipe: true });
  }
}

/** Bytes that the active region has sent to the others since it came up. */
async function sentBytes(): Promise<number> {
  const text = await runInRegion(parseRegion(ACTIVE), ["cat", "/proc/net/dev"], { instance: INSTANCE });
  return text
    .split("\n")
    .filter((line) => /^\s*wan\d+:/.test(line))
    .reduce((sum, line) => sum + Number(line.split(":")[1]!.trim().split(/\s+/)[8]), 0);
}

/** Bytes per second that leave the active region without any writes of ours. */
async function trickle(): Promise<number> {
  const before = await sentBytes();
  await sleep(10_000);
  return ((await sentBytes()) - before) / 10;
}

/** Runs one of the bench's programs with a region's network; the password goes over standard input. */
async function run(region: string, program: string, ...numbers: number[]) {
  const plan = planRegion(planInstance(process.env, INSTANCE), parseRegion(region));
  const access: DatabaseAccess = {
    address: await leaderAddress(region),
    caFile: caFile(INSTANCE),
    user: "iam_app",
    database: "iam",
  };
  const script = join(ROOT, "scripts/bench/replication", program);
  const args = [`--net=${plan.netnsPath}`, process.execPath, script, JSON.stringify(access), ...numbers.map(String)];
  const child = spawn("nsenter", args, { stdio: ["pipe", "pipe", "inherit"], timeout: 180_000 });
  child.stdin.end(sharedPasswords(join(instanceFolder(INSTANCE), "passwords.json")).postgresApp);
  let out = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (out += text));
  const code = await new Promise<number | null>((resolve, reject) => child.on("error", reject).on("close", resolve));
  if (code !== 0) throw new Error(`${program} in ${region} ended with ${code}`);
  return parseStamps(out);
}

async function leaderAddress(region: string): Promise<string> {
  const place = loadDeployment(INSTANCE).regions.find((deployed) => deployed.region === region)!;
  const args = ["-n", place.namespace, "get", "service", "postgresql", "-o", "jsonpath={.spec.clusterIP}"];
  return (await kubectl(accessTo(place), args)).trim();
}

import { mkdir, readFile, rm } from "node:fs/promises";
import { connect } from "node:net";
import { dirname, join } from "node:path";
import { parse } from "yaml";
import type { CgroupLayout } from "../plan/cgroups.ts";
import type { Programs } from "../plan/configs.ts";
import { strays } from "../plan/process.ts";
import type { RegionName } from "../plan/regions.ts";
import { parseWan, wanConfig, type Direction, type LinkSettings, type WanPlan, type WanState } from "../plan/wan.ts";
import { waitFor } from "./api.ts";
import { daemonPids, daemonProcesses, makeCgroup, removeCgroup } from "./cgroup.ts";
import { alivePid, ensureProcess, killPids, stopPids } from "./daemon.ts";
import { exists, hash, readIfThere, writeFileAtomically } from "./files.ts";

/** What the emulator is started with. */
export interface WanStart {
  readonly layout: CgroupLayout;
  readonly programs: Pick<Programs, "hostkit" | "path">;
  readonly links: readonly (Direction & LinkSettings)[];
  readonly signal?: AbortSignal;
}

/** An order to the emulator, as `hostkit wan` takes it. */
export type WanOrder =
  | { readonly op: "show" | "reset" | "scan" }
  | { readonly op: "cut" | "mend"; readonly links: readonly Direction[] }
  | ({ readonly op: "set"; readonly links: readonly Direction[] } & Partial<LinkSettings>);

const NAME = "wan";
/** The emulator has nothing to wait for: it answers at once or never. */
const ATTACH_TIMEOUT = 20_000;
const ASK_TIMEOUT = 5_000;

/** The links between regions: `scripts/local/wan.yaml`, or the file that `IAM_HA_WAN` names.
 *  @throws RangeError with every problem in it; Error when it can't be read */
export async function readWanFile(
  env: Readonly<Record<string, string | undefined>> = process.env,
): Promise<readonly (Direction & LinkSettings)[]> {
  const file = env.IAM_HA_WAN || join(import.meta.dirname, "../wan.yaml");
  return parseWan(parse(await readFile(file, "utf8")), file);
}

/** Starts the emulator unless it runs with these settings, and waits until it has taken the region up. */
export async function ensureWan(plan: WanPlan, start: WanStart, region: RegionName): Promise<void> {
  await mkdir(plan.run, { recursive: true, mode: 0o700 });
  const config = `${JSON.stringify(wanConfig(plan, start.links), undefined, 2)}\n`;
  await writeFileAtomically(plan.conf, config);
  await endStrays(plan, start.layout);
  const argv = [start.programs.hostkit, "wan", "--config", plan.conf];
  await ensureProcess({
    run: plan.run,
    name: NAME,
    log: plan.log,
    argv,
    path: start.programs.path,
    fingerprint: hash(...argv, config),
    cgroupProcs: await makeCgroup(start.layout, plan.cgroup),
  });
  await waitFor(
    `the network between regions to take ${region} up`,
    ATTACH_TIMEOUT,
    async () => (await askWan(plan, { op: "scan" })).regions.find(({ name }) => name === region)?.attached || undefined,
    {
      signal: start.signal,
      interval: 50,
      check: async () => {
        if ((await alivePid(plan, NAME)) !== undefined) return;
        const end = ((await readIfThere(plan.log)) ?? "").trim().split("\n").slice(-3).join("\n");
        throw new Error(`The network between regions has ended. The end of ${plan.log}:\n${end}`);
      },
    },
  );
}

/** A start that was killed half-way may have left an emulator that nobody knows of: it would hold the devices. */
async function endStrays(plan: WanPlan, layout: CgroupLayout): Promise<void> {
  const known = await alivePid(plan, NAME);
  const seen = await daemonProcesses(layout, plan.cgroup);
  await killPids(strays(seen, new Set(known === undefined ? [] : [known])));
}

/** Tells the emulator that a region has gone. One that does not answer notices by itself, within a second. */
export async function letGo(plan: WanPlan): Promise<void> {
  await askWan(plan, { op: "scan" }).catch(() => {});
}

/** Ends the emulator and removes all of it, what orders have changed as well. */
export async function stopWan(plan: WanPlan, layout: CgroupLayout): Promise<void> {
  const pid = await alivePid(plan, NAME);
  if (pid !== undefined) await stopPids([pid], 3_000);
  await killPids(await daemonPids(layout, plan.cgroup));
  await removeCgroup(layout, plan.cgroup);
  await rm(plan.run, { recursive: true, force: true });
}

/** Kills the emulator's supervisor, and with it the emulator, or the emulator alone. @returns false when it did not run. */
export async function killWan(plan: WanPlan, layout: CgroupLayout, what: "all" | "worker"): Promise<boolean> {
  const pid = await alivePid(plan, NAME);
  if (pid === undefined) return false;
  const workers = (await daemonProcesses(layout, plan.cgroup)).filter(({ parent }) => parent === pid);
  await killPids(what === "all" ? [pid] : workers.map((worker) => worker.pid));
  return true;
}

/** Gives the emulator an order.
 *  @returns how things stand afterwards
 *  @throws Error with its own words when it refuses; when nobody answers in 5 s */
export async function askWan(plan: WanPlan, order: WanOrder): Promise<WanState> {
  if (!(await exists(plan.control))) {
    const running = await exists(dirname(plan.control));
    throw new Error(
      running
        ? `The network between the regions of instance ${plan.instance.name} is just starting: try again.`
        : `No region of instance ${plan.instance.name} runs: \`npm start\` brings them up.`,
    );
  }
  const answer = JSON.parse(await exchange(plan.control, `${JSON.stringify(order)}\n`)) as WanState & {
    error?: string;
  };
  if (answer.error !== undefined) throw new Error(`The network between regions refuses: ${answer.error}.`);
  return answer;
}

function exchange(path: string, question: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const connection = connect(path);
    let text = "";
    connection.setEncoding("utf8").setTimeout(ASK_TIMEOUT, () => connection.destroy(new Error("no answer in 5 s")));
    connection.on("data", (chunk: string) => (text += chunk));
    connection.once("connect", () => connection.write(question));
    connection.once("end", () => resolve(text)); // after one answer the emulator hangs up
    connection.once("error", (error) => reject(new Error(`The network between regions (${path}): ${error.message}.`)));
  });
}

import { spawn } from "node:child_process";
import { parseArgs } from "node:util";
import {
  contextName,
  downRegions,
  kubeconfigPath,
  kubectlPath,
  lookupInRegion,
  parseRegion,
  PreflightError,
  regionNames,
  regionStatus,
  upRegions,
  hostPorts,
  type ProgressEvent,
  type RegionName,
} from "./index.ts";
import { planInstance } from "./plan/instance.ts";
import { planRegion } from "./plan/regions.ts";

const USAGE = `node scripts/local/cli.ts up [REGION...]            bring clusters up (default: all regions)
node scripts/local/cli.ts down [REGION...] [--wipe] stop them; --wipe removes their data
node scripts/local/cli.ts status                    what runs
node scripts/local/cli.ts kubectl REGION ARGS...    the project's kubectl
node scripts/local/cli.ts exec REGION COMMAND...    a command with the region's network
node scripts/local/cli.ts lookup REGION NAME        the addresses that the region's DNS gives for a full name
IAM_HA_INSTANCE selects the instance (default: default).
`;

const print = (line: string) => process.stdout.write(`${line}\n`);
const complain = (line: string) => process.stderr.write(`${line}\n`);

async function main(argv: readonly string[]): Promise<number> {
  const [command, ...rest] = argv;
  switch (command) {
    case "up":
      await upRegions(regions(rest), { onProgress: printer(), signal: interrupted() });
      return await status();
    case "down": {
      const { values, positionals } = parseArgs({
        args: rest,
        options: { wipe: { type: "boolean" } },
        allowPositionals: true,
      });
      await downRegions(regions(positionals), { wipe: values.wipe, onProgress: printer() });
      return 0;
    }
    case "status":
      return await status();
    case "kubectl": {
      const region = parseRegion(rest[0] ?? "");
      const args = [`--kubeconfig=${kubeconfigPath()}`, `--context=${contextName(region)}`, ...rest.slice(1)];
      return await foreground(await kubectlPath(), args);
    }
    case "exec": {
      const plan = planRegion(planInstance(process.env), parseRegion(rest[0] ?? ""));
      return await foreground("nsenter", [`--net=${plan.netnsPath}`, ...rest.slice(1)]);
    }
    case "lookup": {
      const [region = "", name] = rest;
      if (name === undefined) throw new Error("lookup takes a region and a full name");
      print((await lookupInRegion(parseRegion(region), name)).join("\n"));
      return 0;
    }
    case undefined:
    default:
      process.stderr.write(USAGE);
      return 2;
  }
}

function regions(names: readonly string[]): readonly RegionName[] {
  return names.length === 0 ? regionNames : names.map(parseRegion);
}

async function status(): Promise<number> {
  for (const s of await regionStatus()) {
    const dead = Object.entries(s.daemons).flatMap(([name, pid]) => (pid === undefined ? [name] : []));
    const { api, https } = hostPorts(s.region);
    const detail =
      s.state === "degraded"
        ? ` (not running: ${dead.join(", ") || "none"}; API ${s.apiReady ? "ready" : "not ready"})`
        : "";
    print(`${s.region.padEnd(9)} ${s.state}${detail}  api 127.0.0.1:${api}  edge 127.0.0.1:${https}`);
  }
  return 0;
}

function printer(): (event: ProgressEvent) => void {
  const start = Date.now();
  let last = "";
  return ({ region, step, detail, fraction }) => {
    const percent = fraction === undefined ? "" : ` ${Math.floor(fraction * 100)}%`;
    const line = `${region ?? ""} ${step} ${fraction === undefined ? detail : detail.split(":")[0]}${percent}`.trim();
    if (line !== last) print(`${((Date.now() - start) / 1000).toFixed(1).padStart(7)} ${line}`);
    last = line;
  };
}

function interrupted(): AbortSignal {
  const controller = new AbortController();
  for (const name of ["SIGINT", "SIGTERM"] as const)
    process.once(name, () => controller.abort(new Error(`Ended by ${name}.`)));
  return controller.signal;
}

async function foreground(command: string, args: readonly string[]): Promise<number> {
  const child = spawn(command, args, { stdio: "inherit" });
  return await new Promise((resolve, reject) => {
    child.once("error", reject).once("close", (code) => resolve(code ?? 1));
  });
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  if (error instanceof PreflightError) for (const { found, remedy } of error.problems) complain(`${found} ${remedy}`);
  else complain(error instanceof Error ? error.message : String(error));
  process.exitCode = 1;
}

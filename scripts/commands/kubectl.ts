import { spawn } from "node:child_process";
import { loadDeployment } from "../deployment.ts";
import { accessTo } from "../start/access.ts";

/** kubectl for a deployed region, with the terminal handed over. */
export async function kubectl(region: string, args: readonly string[], options: { instance: string }): Promise<void> {
  const place = loadDeployment(options.instance).regions.find((deployed) => deployed.region === region);
  if (!place) throw new Error(`${region} is not running: \`npm start -- --regions ${region}\` brings it up`);
  const access = accessTo(place);
  process.exitCode = await new Promise<number>((resolve, reject) => {
    const child = spawn(access.kubectl, [`--kubeconfig=${access.kubeconfig}`, `--context=${access.context}`, ...args], {
      stdio: "inherit",
    });
    child.on("error", reject);
    child.on("close", (code) => resolve(code ?? 1));
  });
}

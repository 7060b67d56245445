import type { ListrTask } from "listr2";
import { setTimeout as sleep } from "node:timers/promises";
import { regionRows } from "../commands/status.ts";
import { recordRegions, type DeployedRegion } from "../deployment.ts";
import { applyObjects } from "../render/apply.ts";
import { accessTo } from "./access.ts";
import type { StartContext } from "./context.ts";
import { instanceFolder } from "./folders.ts";
import { login } from "./login.ts";
import { bar } from "./progress.ts";
import { findPulumi, pulumiUp } from "./pulumi.ts";
import { applySet, overlaysFor, renderPlace } from "./render-place.ts";
import { timed } from "./timings.ts";

/** A region that is not healthy after this time is an error; the first start of a database on a slow disk takes minutes. */
const HEALTHY_LIMIT_MS = 10 * 60_000;

/** Steps that bring the platform up in clusters that can be reached. */
export function platformSteps(): ListrTask<StartContext>[] {
  return [
    timed("apply", {
      title: "Apply the program",
      task: async (context, task) => {
        const pulumi = await findPulumi();
        task.title = pulumi
          ? `Apply the program (pulumi ${pulumi.version} is on PATH: pulumi up, local state)`
          : "Apply the program (no pulumi on PATH: rendered, then kubectl apply --server-side)";
        for (const place of context.places) {
          const overlays = await overlaysFor(context.instance, context.images, place);
          const onLine = (line: string) => (task.output = `${place.region}: ${line}`);
          if (pulumi)
            await pulumiUp(pulumi, place, overlays, {
              folder: instanceFolder(context.instance),
              signal: context.signal,
              onLine,
            });
          else await renderAndApply(context, place, onLine);
        }
        recordRegions(context.instance, context.places);
      },
    }),
    timed("all healthy", {
      title: "Wait until every part is healthy",
      task: async (context, task) => {
        await Promise.all(
          context.places.map((place) => waitHealthy(place, context.signal, (text) => (task.output = text))),
        );
      },
    }),
    timed("login", {
      title: "Log in through https",
      task: async (context, task) => {
        for (const place of context.places) {
          if (!place.edge) {
            task.skip("the edge of a cluster of your own is reached through its load balancer");
            continue;
          }
          const answer = await login(place, context.instance, context.signal);
          task.output = `${place.region}: ${answer.user} is logged in, the read was served by a ${answer.readFrom}`;
        }
      },
      rendererOptions: { persistentOutput: true },
    }),
  ];
}

async function renderAndApply(
  context: StartContext,
  place: DeployedRegion,
  onLine: (line: string) => void,
): Promise<void> {
  const objects = await renderPlace(context.instance, context.images, place);
  onLine(`${objects.length} objects`);
  const lines = await applyObjects(accessTo(place), objects, { ...applySet(place), signal: context.signal });
  onLine(`${lines.length} objects applied`);
}

async function waitHealthy(place: DeployedRegion, signal: AbortSignal, onText: (text: string) => void): Promise<void> {
  const end = Date.now() + HEALTHY_LIMIT_MS;
  let told = "";
  for (;;) {
    const rows = await regionRows(place, signal);
    const healthy = rows.filter((row) => row.healthy).length;
    if (healthy === rows.length) return;
    signal.throwIfAborted();
    const sick = rows.filter((row) => !row.healthy).map((row) => `${row.pod || row.part} (${row.detail})`);
    if (Date.now() > end)
      throw new Error(`${place.region} is not healthy after ${HEALTHY_LIMIT_MS / 60_000} min: ${sick.join("; ")}`);
    const text = `${bar(healthy / rows.length)} ${place.region}: waiting for ${sick[0]}${sick.length > 1 ? ` and ${sick.length - 1} more` : ""}`;
    // Where there is no terminal, each is a line of its own.
    if (text !== told) onText(text);
    told = text;
    await sleep(1000, undefined, { signal });
  }
}

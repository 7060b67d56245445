import type { ListrTask } from "listr2";
import { setTimeout as sleep } from "node:timers/promises";
import { REGIONS } from "../arguments.ts";
import { readBoard } from "../commands/status.ts";
import { loadDeployment, recordRegions, type DeployedRegion } from "../deployment.ts";
import { regionRole } from "../local/values/overlay.ts";
import { applyObjects } from "../render/apply.ts";
import { boardProblems } from "../status/board.ts";
import { accessTo } from "./access.ts";
import type { StartContext } from "./context.ts";
import { eachRegion, inTurn } from "./each-region.ts";
import { instanceFolder } from "./folders.ts";
import { login } from "./login.ts";
import { findPulumi, pulumiUp, type PulumiCli } from "./pulumi.ts";
import { applySet, overlaysFor, renderPlace } from "./render-place.ts";
import { timed } from "./timings.ts";
import { waitHealthy } from "./healthy.ts";

/** How long the regions may take to find each other; the slowest link of the design makes a batch every 30 s. */
const JOINED_LIMIT_MS = 3 * 60_000;
/** How long a healthy platform may take to answer a login. */
const LOGIN_LIMIT_MS = 30_000;

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
        // The program runs in this process, one region at a time; the engine takes what the machine has. The API
        // servers can well work at the same time.
        const turn = inTurn();
        await eachRegion(context, "apply the program", async (place) => {
          const onLine = (line: string) => (task.output = `${place.region}: ${line}`);
          if (pulumi) await turn(() => applyByEngine(context, pulumi, place, onLine));
          else await renderAndApply(context, place, turn, onLine);
        });
        recordRegions(context.instance, context.places);
      },
    }),
    timed("all healthy", {
      title: "Wait until every part is healthy",
      task: async (context, task) => {
        const notes: string[] = [];
        await eachRegion(context, "become healthy", async (place) => {
          const waits = await waitHealthy(place, context.signal, (text) => (task.output = text));
          if (waits === undefined) return;
          context.waiting.add(place.region);
          notes.push(`${place.region} waits for a database to copy: ${waits}`);
        });
        if (notes.length > 0) task.output = notes.join("\n");
      },
      rendererOptions: { persistentOutput: true, outputBar: Infinity },
    }),
    timed("joined", {
      title: "Wait until the regions follow each other",
      task: async (context, task) => {
        const running = loadDeployment(context.instance).regions.map(({ region }) => region);
        if (!REGIONS.every((region) => running.includes(region)))
          return void task.skip("not every region runs: `npm run status` tells what is missing");
        if (context.waiting.size > 0)
          return void task.skip(
            `${[...context.waiting].join(" and ")} cannot follow yet: \`npm run status\` tells when`,
          );
        const left = await waitJoined(context, (text) => (task.output = text));
        if (left.length > 0) task.output = `not yet: ${left.join("; ")}`;
      },
      rendererOptions: { persistentOutput: true },
    }),
    timed("login", {
      title: "Log in through https",
      task: async (context, task) => {
        if (context.places.every(({ edge }) => !edge)) {
          task.skip("the edge of a cluster of your own is reached through its load balancer");
          return;
        }
        const lines: string[] = [];
        await eachRegion(context, "log a user in", async (place) => {
          if (!place.edge) return;
          const waits = context.waiting.has(place.region);
          lines.push(
            waits ? `${place.region}: no login, as its database waits for one to copy` : await tryLogin(context, place),
          );
          task.output = lines.join("\n");
        });
      },
      rendererOptions: { persistentOutput: true, outputBar: Infinity },
    }),
  ];
}

/** @returns what is still not as it should be when the time is over: the regions work on it by themselves */
async function waitJoined(context: StartContext, onText: (text: string) => void): Promise<string[]> {
  const end = Date.now() + JOINED_LIMIT_MS;
  for (;;) {
    const problems = boardProblems((await readBoard(context.instance, context.signal)).regions);
    context.signal.throwIfAborted();
    if (problems.length === 0 || Date.now() > end) return problems;
    onText(`waiting: ${problems[0]}${problems.length > 1 ? ` and ${problems.length - 1} more` : ""}`);
    await sleep(1000, undefined, { signal: context.signal });
  }
}

/** A region that stands by passes the login on to the active one, which it has to find first. */
async function tryLogin(context: StartContext, place: DeployedRegion): Promise<string> {
  const running = loadDeployment(context.instance).regions;
  if (regionRole(place.region) !== "active" && !running.some(({ region }) => regionRole(region) === "active"))
    return `${place.region}: no login, as the active region does not run`;
  const end = Date.now() + LOGIN_LIMIT_MS;
  for (;;) {
    try {
      const answer = await login(place, context.instance, context.signal);
      return `${place.region}: ${answer.user} is logged in, the read was served by a ${answer.readFrom}`;
    } catch (error) {
      context.signal.throwIfAborted();
      if (Date.now() > end) throw error;
      await sleep(1000, undefined, { signal: context.signal });
    }
  }
}

async function applyByEngine(
  context: StartContext,
  pulumi: PulumiCli,
  place: DeployedRegion,
  onLine: (line: string) => void,
): Promise<void> {
  const overlays = await overlaysFor(context.instance, context.images, place);
  const folder = instanceFolder(context.instance);
  await pulumiUp(pulumi, place, overlays, { folder, signal: context.signal, onLine });
}

async function renderAndApply(
  context: StartContext,
  place: DeployedRegion,
  turn: ReturnType<typeof inTurn>,
  onLine: (line: string) => void,
): Promise<void> {
  const objects = await turn(() => renderPlace(context.instance, context.images, place));
  onLine(`${objects.length} objects`);
  const lines = await applyObjects(accessTo(place), objects, { ...applySet(place), signal: context.signal });
  onLine(`${lines.length} objects applied`);
}

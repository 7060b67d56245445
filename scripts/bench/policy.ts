import { REGIONS } from "../arguments.ts";
import { checkStacks, withJudge } from "../policy/index.ts";
import { renderStacks } from "../policy/stacks.ts";
import { median, report, seconds } from "./report.ts";

const RUNS = 7;

/** Time of the policy pack over the resources of all stacks, and of what has to be done before. */
export async function benchPolicy(): Promise<void> {
  const options = { embedded: false, preview: false };
  const stacks = await renderStacks(REGIONS, options);
  const resources = stacks.reduce((sum, stack) => sum + stack.resources.length, 0);
  let rules = 0;
  const measured: [string, number[]][] = [
    ["rendering of all stacks", await timed(() => renderStacks(REGIONS, options))],
    ["start of the pack: process, rules, configuration", await timed(() => withJudge({}, async () => undefined))],
    [
      "pack over all stacks, its start included",
      await timed(async () => {
        const result = await checkStacks(stacks);
        // Figures of a run that judged nothing, or stopped at a fault, would say nothing.
        if (result.findings.length > 0) throw new Error("the stacks do not pass: see `npm run policy`");
        rules = result.rules;
      }),
    ],
  ];
  report({
    name: "policy",
    title: "Time of the policy pack",
    command: "npm run bench -- policy",
    method: `${rules} rules over ${resources} resources of ${stacks.length} stacks, by the pack's own gRPC interface without the engine, ${RUNS} runs each.`,
    header: ["what", "median", "min", "max"],
    rows: measured.map(([what, times]) => [
      what,
      seconds(median(times)),
      seconds(Math.min(...times)),
      seconds(Math.max(...times)),
    ]),
    remarks: ["Aim: the pack over all stacks within 3 s."],
  });
}

async function timed(work: () => Promise<unknown>): Promise<number[]> {
  const times: number[] = [];
  for (let run = 0; run < RUNS; run++) {
    const begun = performance.now();
    await work();
    times.push(performance.now() - begun);
  }
  return times;
}

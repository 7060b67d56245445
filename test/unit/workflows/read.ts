import { globSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { parse } from "yaml";
import { ROOT } from "../../../scripts/paths.ts";

export interface Step {
  readonly uses?: string;
  readonly run?: string;
  readonly if?: string;
  readonly with?: Readonly<Record<string, unknown>>;
  readonly env?: Readonly<Record<string, string>>;
}
type Permissions = Readonly<Record<string, string>> | string;
interface Concurrency {
  readonly group: string;
  readonly "cancel-in-progress"?: boolean | string;
}
export interface Job {
  readonly if?: string;
  readonly needs?: string | readonly string[];
  readonly permissions?: Permissions;
  readonly "timeout-minutes"?: number;
  readonly environment?: string;
  readonly concurrency?: Concurrency;
  readonly strategy?: { readonly matrix: Readonly<Record<string, readonly string[]>> };
  readonly uses?: string;
  readonly with?: Readonly<Record<string, unknown>>;
  readonly steps?: readonly Step[];
}
export interface Workflow {
  readonly file: string;
  /** The file as it is written: comments are part of a pin. */
  readonly text: string;
  readonly on: Readonly<Record<string, unknown>>;
  readonly permissions?: Permissions;
  readonly concurrency?: Concurrency;
  readonly jobs: Readonly<Record<string, Job>>;
}

/** A step with where it stands. */
export interface PlacedStep {
  readonly where: string;
  readonly step: Step;
}

/** All workflows of the project by their file's name without its ending. */
export function readWorkflows(): Record<string, Workflow> {
  const files = globSync(".github/workflows/*.{yml,yaml}", { cwd: ROOT }).sort();
  return Object.fromEntries(
    files.map((file) => {
      const text = readFileSync(join(ROOT, file), "utf8");
      return [
        basename(file).replace(/\.ya?ml$/, ""),
        { file, text, ...(parse(text) as Omit<Workflow, "file" | "text">) },
      ];
    }),
  );
}

/** Texts of the project's own actions by their file. */
export function readActions(): Record<string, string> {
  const files = globSync(".github/actions/*/action.yml", { cwd: ROOT }).sort();
  return Object.fromEntries(files.map((file) => [file, readFileSync(join(ROOT, file), "utf8")]));
}

/** Every job with its place, `up.yml shenzhen`. */
export function jobsOf(workflows: Record<string, Workflow>): { where: string; workflow: Workflow; job: Job }[] {
  return Object.entries(workflows).flatMap(([name, workflow]) =>
    Object.entries(workflow.jobs).map(([id, job]) => ({ where: `${name}.yml ${id}`, workflow, job })),
  );
}

/** Every step of workflows and of the project's own actions. */
export function stepsOf(workflows: Record<string, Workflow>): PlacedStep[] {
  const inJobs = jobsOf(workflows).flatMap(({ where, job }) => (job.steps ?? []).map((step) => ({ where, step })));
  const inActions = Object.entries(readActions()).flatMap(([where, text]) =>
    (parse(text) as { runs: { steps: Step[] } }).runs.steps.map((step) => ({ where, step })),
  );
  return [...inJobs, ...inActions];
}

/** Names that a job waits for. */
export function needsOf(job: Job): readonly string[] {
  return typeof job.needs === "string" ? [job.needs] : (job.needs ?? []);
}

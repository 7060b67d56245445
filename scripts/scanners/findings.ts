import { z } from "zod";

/** What a scanner objects to. */
export interface Finding {
  readonly scanner: string;
  readonly check: string;
  /** `Deployment/edge`. */
  readonly object: string;
  /** What it says, with the place in the object. */
  readonly text: string;
}

const exception = z.strictObject({
  scanner: z.string().min(1).describe("the scanner's name"),
  check: z.string().min(1).describe("the check's name, as the scanner writes it"),
  objects: z
    .array(z.string().regex(/^[\w*-]+(\/[\w.*-]+)?$/, "must be `Kind/name`, with * for any part of it"))
    .min(1)
    .describe("the objects that are meant"),
  reason: z.string().min(30, "must say why, in a sentence").describe("why it is right as it is"),
});
export type Exception = z.infer<typeof exception>;

/** The exceptions of a file's content.
 *  @param scanners names that they may be for
 *  @throws Error with every problem: path, what is allowed */
export function parseExceptions(content: unknown, scanners: readonly string[]): Exception[] {
  const known = exception.extend({ scanner: z.enum(scanners) });
  const result = z.array(known).safeParse(content);
  if (result.success) return result.data;
  throw new Error(
    result.error.issues.map(({ path, message }) => `exceptions.${path.join(".")}: ${message}`).join("\n"),
  );
}

export interface Verdict {
  /** Findings that no exception is for. */
  readonly open: readonly Finding[];
  /** Objects of exceptions that nothing was found in: `scanner check object`. */
  readonly stale: readonly string[];
}

/** Holds findings against the exceptions. Each object of an exception has to be of use, or it would hide what comes. */
export function judge(findings: readonly Finding[], all: readonly Exception[]): Verdict {
  const patterns = all.flatMap(({ scanner, check, objects }) => objects.map((object) => ({ scanner, check, object })));
  const meets = (finding: Finding, pattern: (typeof patterns)[number]) =>
    finding.scanner === pattern.scanner && finding.check === pattern.check && matches(pattern.object, finding.object);
  return {
    open: findings.filter((finding) => !patterns.some((pattern) => meets(finding, pattern))),
    stale: patterns
      .filter((pattern) => !findings.some((finding) => meets(finding, pattern)))
      .map(({ scanner, check, object }) => `${scanner} ${check} ${object}`),
  };
}

function matches(pattern: string, object: string): boolean {
  const parts = pattern.split("*").map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
  return new RegExp(`^${parts.join(".*")}$`).test(object);
}

const kubeScoreAnswer = z.array(
  z.object({
    type_meta: z.object({ kind: z.string() }),
    object_meta: z.object({ name: z.string() }),
    checks: z.array(
      z.object({
        check: z.object({ id: z.string() }),
        grade: z.number(),
        skipped: z.boolean(),
        comments: z
          .array(z.object({ path: z.string(), summary: z.string(), description: z.string() }))
          .nullable()
          .transform((comments) => comments ?? []),
      }),
    ),
  }),
);

/** Grade of a check with nothing to say against the object. */
const GRADE_OK = 10;

/** What kube-score says, from its JSON (version 1, `--output-format json`).
 *  @throws Error for an answer of another form, and for one without any check: that is no clean bill */
export function kubeScoreFindings(answer: unknown): Finding[] {
  const objects = kubeScoreAnswer.parse(answer);
  if (!objects.some(({ checks }) => checks.some(({ skipped }) => !skipped)))
    throw new Error("kube-score has checked nothing");
  return objects.flatMap(({ type_meta, object_meta, checks }) =>
    checks
      .filter(({ grade, skipped }) => !skipped && grade < GRADE_OK)
      .flatMap(({ check, comments }) =>
        (comments.length > 0 ? comments : [{ path: "", summary: "no comment", description: "" }]).map(
          ({ path, summary, description }) => ({
            scanner: "kube-score",
            check: check.id,
            object: `${type_meta.kind}/${object_meta.name}`,
            text: [path, summary, description].filter(Boolean).join(": "),
          }),
        ),
      ),
  );
}

const kubeconformAnswer = z.object({
  resources: z.array(z.object({ kind: z.string(), name: z.string(), status: z.string(), msg: z.string() })),
});

/** What kubeconform says, from its JSON (`-output json -verbose`), and how many objects it found valid. A kind without a
 *  schema is a finding: nothing of it was looked at. */
export function kubeconformFindings(answer: unknown): {
  readonly valid: number;
  readonly findings: readonly Finding[];
} {
  const { resources } = kubeconformAnswer.parse(answer);
  const bad = resources.filter(({ status }) => status !== "statusValid");
  return {
    valid: resources.length - bad.length,
    findings: bad.map(({ kind, name, status, msg }) => ({
      scanner: "kubeconform",
      check: status,
      object: `${kind}/${name}`,
      text: msg,
    })),
  };
}

const checkovAnswer = z.object({
  results: z.object({
    failed_checks: z.array(z.object({ check_id: z.string(), check_name: z.string(), resource: z.string() })),
  }),
  summary: z.object({ passed: z.number(), parsing_errors: z.number() }),
});

/** What checkov says of manifests, from its JSON of one framework.
 *  @throws Error where it could not read a file, or nothing at all has passed */
export function checkovFindings(answer: unknown): Finding[] {
  const { results, summary } = checkovAnswer.parse(answer);
  if (summary.parsing_errors > 0) throw new Error("checkov could not read the manifests");
  if (summary.passed === 0) throw new Error("checkov has passed nothing: it cannot have looked");
  return results.failed_checks.map(({ check_id, check_name, resource }) => {
    // Kind.namespace.name, of which only the name may have dots.
    const [kind, , ...name] = resource.split(".");
    return { scanner: "checkov", check: check_id, object: `${kind}/${name.join(".")}`, text: check_name };
  });
}

const zizmorAnswer = z.array(
  z.object({
    ident: z.string(),
    desc: z.string(),
    locations: z
      .array(
        z.object({
          symbolic: z.object({ key: z.object({ Local: z.object({ verbatim_path: z.string() }) }), kind: z.unknown() }),
          concrete: z.object({ location: z.object({ start_point: z.object({ row: z.number() }) }) }),
        }),
      )
      .min(1),
  }),
);

/** What zizmor says of workflows, from its JSON: objects are `Workflow/<file>`. */
export function zizmorFindings(answer: unknown): Finding[] {
  return zizmorAnswer.parse(answer).map(({ ident, desc, locations }) => {
    const { symbolic, concrete } = (locations.find(({ symbolic: { kind } }) => kind === "Primary") ?? locations[0])!;
    const path = symbolic.key.Local.verbatim_path;
    return {
      scanner: "zizmor",
      check: ident,
      object: `Workflow/${path.split("/").at(-1)}`,
      text: `line ${concrete.location.start_point.row + 1}: ${desc}`,
    };
  });
}

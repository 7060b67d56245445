import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { ROOT } from "../../../scripts/paths.ts";
import { DEFAULT_REGIONS } from "../../../stacks/topology.ts";
import { jobsOf, needsOf, readActions, readWorkflows, stepsOf, type Job } from "./read.ts";

const SAME_REPOSITORY = "github.event.pull_request.head.repo.full_name == github.repository";

describe("workflows", () => {
  const workflows = readWorkflows();
  const jobs = jobsOf(workflows);
  const steps = stepsOf(workflows);
  const named = (name: string) => {
    const workflow = workflows[name];
    assert.ok(workflow, `there is no .github/workflows/${name}.yml`);
    return workflow;
  };
  const [preview, up, drift, tests] = [named("preview"), named("up"), named("drift"), named("test")];
  const writes = (job: Job) =>
    Object.entries((job.permissions ?? {}) as Record<string, string>)
      .filter(([, level]) => level === "write")
      .map(([scope]) => scope)
      .sort();
  const onPullRequest = jobs.filter(({ workflow }) => "pull_request" in workflow.on);

  it("are those for tests, previews, up and drift", () => {
    assert.deepEqual(Object.keys(workflows), ["drift", "preview", "test", "up-region", "up"]);
  });

  describe("rights", () => {
    it("are none unless a job names them, and no job has all", () => {
      for (const { file, permissions } of Object.values(workflows)) assert.deepEqual(permissions, {}, file);
      for (const { where, job } of jobs) assert.equal(typeof job.permissions, "object", where);
    });

    it("to write are those that the job's work takes", () => {
      const found = Object.fromEntries(jobs.map(({ where, job }) => [where, writes(job)]));
      const region = ["id-token"];
      assert.deepEqual(found, {
        "drift.yml check": ["id-token"],
        "drift.yml issue": ["issues"],
        "preview.yml quick": [],
        "preview.yml changes": [],
        "preview.yml report": ["pull-requests", "security-events"],
        "preview.yml preview": ["id-token", "pull-requests"],
        "test.yml test": [],
        "test.yml policy": ["security-events"],
        "up.yml quick": [],
        ...Object.fromEntries(Object.keys(DEFAULT_REGIONS).map((name) => [`up.yml ${name}`, region])),
        "up-region.yml up": region,
      });
    });

    it("to identify itself go with an environment, whose rules decide who gets it", () => {
      for (const { where, job } of jobs.filter(({ job: { uses } }) => uses === undefined))
        assert.equal(writes(job).includes("id-token"), job.environment !== undefined, where);
    });

    it("of the checkout do not stay on the disk", () => {
      const checkouts = steps.filter(({ step }) => step.uses?.startsWith("actions/checkout@"));
      assert.ok(checkouts.length >= 8);
      for (const { where, step } of checkouts) assert.equal(step.with?.["persist-credentials"], false, where);
    });
  });

  describe("a fork's pull request", () => {
    it("never runs with the rights of the target", () => {
      for (const { file, on, text } of Object.values(workflows)) {
        assert.ok(!("pull_request_target" in on) && !("workflow_run" in on) && !("issue_comment" in on), file);
        // `secrets.` in a workflow that a pull request starts would be one more thing to keep from it.
        assert.doesNotMatch(text, /secrets(\.|\[|: inherit)/, file);
      }
    });

    it("gets no job that may write, identify itself, or run on a machine of ours", () => {
      const guarded = onPullRequest.filter(
        ({ job }) => writes(job).length > 0 || JSON.stringify(job).includes("self-hosted"),
      );
      assert.ok(guarded.length >= 3);
      for (const { where, job } of guarded) {
        const condition = job.if ?? "";
        assert.ok(condition.includes(SAME_REPOSITORY) || condition === "github.event_name == 'push'", where);
        if (condition.includes("||"))
          assert.equal(condition, `github.event_name == 'push' || ${SAME_REPOSITORY}`, where);
      }
    });

    it("gets the quick tests, and the rendered changes with the policies", () => {
      for (const [name, command] of [
        ["quick", "npm test -- check unit stacks policies scanners"],
        ["changes", "npm run --silent preview"],
        ["changes", "npm run --silent policy"],
      ] as const) {
        const job = preview.jobs[name]!;
        assert.equal(job.if, undefined);
        assert.deepEqual(needsOf(job), []);
        assert.ok(
          job.steps!.some(({ run }) => run?.includes(command)),
          `${name}: ${command}`,
        );
      }
    });
  });

  describe("actions", () => {
    it("are pinned by the digest of a commit, with the version beside it, the same everywhere", () => {
      const texts = [...Object.values(workflows).map(({ text }) => text), ...Object.values(readActions())];
      const uses = texts.flatMap((text) => [...text.matchAll(/^\s*(?:- )?uses: (.+)$/gm)].map(([, what]) => what!));
      const pins = new Map<string, Set<string>>();
      for (const what of uses.filter((one) => !one.startsWith("./"))) {
        const [, action, pin] = /^([\w.-]+\/[\w./-]+)@([0-9a-f]{40} # v\d+\.\d+\.\d+)$/.exec(what) ?? [];
        assert.ok(action && pin, `uses: ${what}`);
        pins.set(action, (pins.get(action) ?? new Set()).add(pin));
      }
      assert.ok(pins.size >= 8);
      for (const [action, found] of pins) assert.equal(found.size, 1, `${action}: ${[...found].join(", ")}`);
    });

    it("get Pulumi in the version of the SDK", () => {
      const { dependencies } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as {
        dependencies: Record<string, string>;
      };
      const installs = steps.filter(({ step }) => step.uses?.startsWith("pulumi/actions@"));
      assert.equal(installs.length, 3);
      for (const { where, step } of installs)
        assert.equal(step.with?.["pulumi-version"], dependencies["@pulumi/pulumi"], where);
    });
  });

  it("end: every job has a time-out", () => {
    for (const { where, job } of jobs.filter(({ job: { uses } }) => uses === undefined))
      assert.ok(job["timeout-minutes"]! <= 120, where);
  });

  it("put nothing into a script that others may write", () => {
    for (const { where, step } of steps) {
      const script = [step.run, step.with?.["script"]].join("\n");
      assert.doesNotMatch(script, /\$\{\{/, where);
    }
  });

  it("name no repository, organization or address of their own", () => {
    for (const { file, text } of Object.values(workflows)) {
      assert.doesNotMatch(text.replaceAll("https://api.pulumi.com", ""), /https?:|github\.com\//, file);
      for (const [, stack] of text.matchAll(/(?:stack-name|STACK): (.+)/g))
        assert.match(
          stack!,
          /^\$\{\{ vars\.PULUMI_ORGANIZATION \}\}\/iam-ha\/\$\{\{ (matrix|inputs)\.region \}\}$/,
          file,
        );
    }
  });

  it("cache packages by the lock file", () => {
    const nodes = steps.filter(({ step }) => step.uses?.startsWith("actions/setup-node@"));
    assert.ok(nodes.length >= 5);
    for (const { where, step } of nodes)
      assert.deepEqual(
        step.with,
        { "node-version": 24, cache: "npm", "cache-dependency-path": "package-lock.json" },
        where,
      );
  });

  describe("preview", () => {
    it("is made of every stack, under the policies, with one comment each that is edited in place", () => {
      const job = preview.jobs["preview"]!;
      assert.deepEqual(job.strategy!.matrix["region"], Object.keys(DEFAULT_REGIONS));
      const step = job.steps!.find(({ uses }) => uses?.startsWith("pulumi/actions@"))!;
      const { command, policyPacks } = step.with!;
      assert.deepEqual({ command, policyPacks }, { command: "preview", policyPacks: "policies" });
      assert.equal(step.with!["comment-on-pr"], true);
      assert.equal(step.with!["edit-pr-comment"], true);
    });

    it("comes after the quick tests and the policies", () => {
      assert.deepEqual(needsOf(preview.jobs["preview"]!), ["quick", "changes"]);
    });

    it("reports with the scripts of the base, never with those of the pull request", () => {
      const [checkout] = preview.jobs["report"]!.steps!;
      assert.equal(checkout!.with!["ref"], "${{ github.event.pull_request.base.sha }}");
    });
  });

  describe("up", () => {
    const regions = Object.values(up.jobs).filter(({ uses }) => uses === "./.github/workflows/up-region.yml");
    const order: string[] = [];
    for (let last = "quick"; ; last = order.at(-1)!) {
      const next = Object.entries(up.jobs).filter(([, job]) => needsOf(job).includes(last));
      if (next.length !== 1) break;
      order.push(next[0]![0]);
    }

    it("goes region by region, those that stand by first and the active one last", () => {
      const expected = Object.entries(DEFAULT_REGIONS)
        .sort(([, a], [, b]) => Number(a.role === "active") - Number(b.role === "active") || b.priority - a.priority)
        .map(([name]) => name);
      assert.deepEqual(order, expected);
      assert.equal(regions.length, expected.length);
      for (const name of order) assert.equal(up.jobs[name]!.with!["region"], name);
    });

    it("stops where a region fails: no region's condition lets it run then", () => {
      for (const name of order) assert.equal(up.jobs[name]!.if, undefined, name);
      const job = workflows["up-region"]!.jobs["up"]!;
      assert.equal(job.if, undefined);
      for (const step of job.steps!) assert.ok(!("continue-on-error" in step) && step.if === undefined);
    });

    it("is never cancelled half-way, and no two change a stack at once", () => {
      const job = workflows["up-region"]!.jobs["up"]!;
      assert.equal(up.concurrency!["cancel-in-progress"], false);
      assert.deepEqual(job.concurrency, { group: "up-${{ inputs.region }}", "cancel-in-progress": false });
      // A group that another workflow shares would let that one's waiting run take the place of this one's.
      const others = jobs.filter(({ workflow }) => workflow !== up && workflow !== workflows["up-region"]);
      for (const { where, workflow, job: other } of others)
        for (const group of [workflow.concurrency?.group, other.concurrency?.group])
          assert.ok(!group?.startsWith("up"), where);
    });

    it("asks for approval: each region has an environment of its own", () => {
      assert.equal(workflows["up-region"]!.jobs["up"]!.environment, "${{ inputs.region }}");
    });

    it("runs under the policies, of the default branch only", () => {
      const step = workflows["up-region"]!.jobs["up"]!.steps!.find(({ uses }) => uses?.startsWith("pulumi/actions@"))!;
      assert.equal(step.with!["command"], "up");
      assert.equal(step.with!["policyPacks"], "policies");
      assert.match(up.jobs["quick"]!.if!, /github\.ref_name == github\.event\.repository\.default_branch/);
      assert.deepEqual(Object.keys(up.on), ["push", "workflow_dispatch"]);
    });
  });

  describe("drift", () => {
    it("is looked for in every stack on a schedule, and told in one issue", () => {
      assert.ok("schedule" in drift.on);
      const { check, issue } = drift.jobs;
      assert.deepEqual(check!.strategy!.matrix["region"], Object.keys(DEFAULT_REGIONS));
      assert.ok(check!.steps!.some(({ run }) => run === ".github/scripts/drift.sh"));
      const script = String(issue!.steps!.at(-1)!.with!["script"]);
      assert.ok(
        script.includes(`readStates("out", ${JSON.stringify(Object.keys(DEFAULT_REGIONS)).replaceAll(",", ", ")})`),
      );
    });
  });

  it("run the tests on every push to main and every pull request", () => {
    assert.deepEqual(Object.keys(tests.on), ["push", "pull_request"]);
    assert.ok(tests.jobs["test"]!.steps!.some(({ run }) => run === ".ci/run"));
    assert.match(readFileSync(join(ROOT, ".ci/run"), "utf8"), /^exec npm test$/m);
  });
});

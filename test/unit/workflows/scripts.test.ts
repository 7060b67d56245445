import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import fc from "fast-check";
import { ROOT } from "../../../scripts/paths.ts";

interface Item {
  readonly number: number;
  readonly id: number;
  title?: string;
  body: string;
  state: string;
  readonly user: { readonly type: string };
  readonly pull_request?: object;
}
interface State {
  readonly region: string;
  readonly state: string;
  readonly text: string;
}
type Call = (args: Record<string, unknown>) => Promise<unknown>;

const load = createRequire(import.meta.url);
const { keepComment, marked } = load(join(ROOT, ".github/scripts/keep.cjs")) as {
  keepComment: (args: object) => Promise<void>;
  marked: (marker: string, text: string) => string;
};
const { keepDriftIssue, readStates } = load(join(ROOT, ".github/scripts/drift.cjs")) as {
  keepDriftIssue: (args: object) => Promise<void>;
  readStates: (folder: string, regions: readonly string[]) => State[];
};

/** GitHub's issues and comments, as far as the scripts use them. */
class Site {
  readonly comments: Item[] = [];
  readonly issues: Item[] = [];
  private next = 100;

  private add(list: Item[], args: Record<string, unknown>, type = "Bot"): Item {
    const number = this.next++;
    const item = { number, id: number, state: "open", user: { type }, ...args } as unknown as Item;
    list.push(item);
    return item;
  }

  comment(body: string, type: string): Item {
    return this.add(this.comments, { body }, type);
  }

  get github() {
    const change = (list: Item[], key: string, args: Record<string, unknown>) =>
      Object.assign(
        list.find(({ id }) => id === args[key])!,
        args,
      );
    return {
      paginate: async (method: Call, args: Record<string, unknown>) => method(args),
      rest: {
        issues: {
          listComments: async () => this.comments,
          listForRepo: async () => this.issues.filter(({ state }) => state === "open"),
          createComment: async (args: Record<string, unknown>) => this.add(this.comments, args),
          updateComment: async (args: Record<string, unknown>) => change(this.comments, "comment_id", args),
          create: async (args: Record<string, unknown>) => this.add(this.issues, args),
          update: async (args: Record<string, unknown>) => change(this.issues, "issue_number", args),
        },
      },
    };
  }
}

const context = {
  repo: { owner: "somebody", repo: "something" },
  payload: { pull_request: { number: 7 } },
  serverUrl: "https://git.example.com",
  runId: 42,
};

describe("a comment that is kept", () => {
  const keep = (site: Site, text: string) => keepComment({ github: site.github, context, marker: "changes", text });

  it("is written once and then edited", async () => {
    const site = new Site();
    await keep(site, "first");
    await keep(site, "second");
    assert.deepEqual(
      site.comments.map(({ body }) => body),
      ["<!-- changes -->\nsecond"],
    );
  });

  it("is not one that a person wrote with the marker in it, nor one with another marker", async () => {
    const site = new Site();
    site.comment("<!-- changes -->\nmine", "User");
    site.comment("<!-- other -->\n<!-- changes -->", "Bot");
    await keep(site, "ours");
    assert.deepEqual(
      site.comments.map(({ body }) => body),
      ["<!-- changes -->\nmine", "<!-- other -->\n<!-- changes -->", "<!-- changes -->\nours"],
    );
  });

  it("fits, whatever the text, says where it was cut, and leaves no code block open", () => {
    const line = fc.constantFrom("```", "text ".repeat(300), "x");
    fc.assert(
      fc.property(fc.array(line, { maxLength: 120 }), (lines) => {
        const text = lines.join("\n");
        const body = marked("changes", text);
        assert.ok(body.length <= 65_000);
        assert.equal(body.includes("cut here"), body !== `<!-- changes -->\n${text}`);
        const fences = body.match(/^```/gm)?.length ?? 0;
        if (body.includes("cut here")) assert.equal(fences % 2, 0);
      }),
    );
  });
});

describe("the issue of drift", () => {
  const regions = ["a", "b"];
  const keep = (site: Site, ...states: string[]) =>
    keepDriftIssue({
      github: site.github,
      context,
      states: regions.map((region, i) => ({ region, state: states[i], text: `~ of ${region}` })),
    });

  it("is opened where a region has drifted, edited as long as it has, and closed when none has", async () => {
    const site = new Site();
    await keep(site, "none", "none");
    assert.equal(site.issues.length, 0);
    await keep(site, "none", "drift");
    await keep(site, "drift", "drift");
    assert.equal(site.issues.length, 1);
    const [issue] = site.issues as [Item];
    assert.equal(issue.title, "Drift in a, b");
    assert.match(issue.body, /## a\n\nNot as the program says:[^#]+~ of a[^#]+## b/);
    await keep(site, "none", "none");
    assert.equal(issue.state, "closed");
    await keep(site, "drift", "none");
    assert.equal(site.issues.length, 2);
  });

  it("stays open while a region is not known, and is not opened for that alone", async () => {
    const site = new Site();
    await keep(site, "failed", "none");
    assert.equal(site.issues.length, 0);
    await keep(site, "drift", "none");
    await keep(site, "failed", "none");
    const [issue] = site.issues as [Item];
    assert.equal(issue.state, "open");
    assert.equal(issue.title, "Drift not known in a");
  });

  it("fits, with long previews of three regions", async () => {
    const site = new Site();
    const states = ["a", "b", "c"].map((region) => ({ region, state: "drift", text: `start ${"~\n".repeat(1e5)}end` }));
    await keepDriftIssue({ github: site.github, context, states });
    const { body } = site.issues[0]!;
    assert.ok(body.length < 65_000);
    assert.equal(body.match(/end\n````/g)!.length, 3);
  });
});

describe("drift.sh", () => {
  let folder: string;
  beforeEach(() => (folder = mkdtempSync(join(tmpdir(), "iam-ha-drift-"))));
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  /** Runs it with a Pulumi that does what it is told. */
  function drift(pulumi: string, env: Record<string, string> = {}) {
    const program = join(folder, "pulumi");
    writeFileSync(program, `#!/bin/sh\n${pulumi}\n`);
    chmodSync(program, 0o755);
    const { status, stderr } = spawnSync(join(ROOT, ".github/scripts/drift.sh"), {
      cwd: folder,
      encoding: "utf8",
      timeout: 10_000,
      env: { PATH: [folder, dirname(process.execPath), "/usr/bin", "/bin"].join(delimiter), REGION: "a", ...env },
    });
    return { status, stderr, states: readStates(join(folder, "out"), ["a", "b"]) };
  }
  const STACK = "somebody/iam-ha/a";

  it("tells a region that is as the program says, and asks for the stack with what the cluster says now", () => {
    const { status, states } = drift('echo "$@"', { STACK });
    assert.equal(status, 0);
    assert.equal(states[0]!.state, "none");
    assert.match(states[0]!.text, /^preview --stack somebody\/iam-ha\/a --refresh .*--expect-no-changes/);
  });

  for (const say of ["", "for preview "])
    it(`tells drift by what the engine says of it ("expected ${say}but")`, () => {
      const { status, states } = drift(
        `echo "error: no changes were expected ${say}but changes were proposed" >&2; exit 1`,
        {
          STACK,
        },
      );
      assert.equal(status, 0);
      assert.equal(states[0]!.state, "drift");
    });

  it("fails where the preview failed: that is no drift", () => {
    const { status, states } = drift('echo "error: could not reach the cluster" >&2; exit 255', { STACK });
    assert.equal(status, 1);
    assert.deepEqual(
      states.map(({ region, state }) => [region, state]),
      [
        ["a", "failed"],
        ["b", "failed"],
      ],
    );
    assert.match(states[0]!.text, /could not reach/);
  });

  it("fails where the preview does not end", () => {
    const { status, states } = drift("exec sleep 60", { STACK, LIMIT: "0.2s" });
    assert.equal(status, 1);
    assert.equal(states[0]!.state, "failed");
  });

  it("names what it was not told", () => {
    const { status, stderr } = drift("exit 0");
    assert.notEqual(status, 0);
    assert.match(stderr, /STACK: name of the stack/);
  });
});

import assert from "node:assert/strict";
import { spawn, type ChildProcessWithoutNullStreams } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import fc from "fast-check";

const FILES = fileURLToPath(new URL("../../../images/witness", import.meta.url));
const DRIVER = `
import json, sys
sys.dont_write_bytecode = True
sys.path.insert(0, sys.argv[1])
import rules
for line in sys.stdin:
    print(json.dumps([getattr(rules, name)(*args) for name, args in json.loads(line)]), flush=True)
`;

let python: ChildProcessWithoutNullStreams;
let answers: AsyncIterator<string>;
let complaints = "";

/** Calls functions of rules.py, in one Python for all tests. */
async function call(name: string, ...args: unknown[]): Promise<unknown> {
  python.stdin.write(`${JSON.stringify([[name, args]])}\n`);
  const { done, value } = await answers.next();
  if (done) throw new Error(`Python ended: ${complaints}`);
  return (JSON.parse(value) as unknown[])[0];
}

interface View {
  state: "unreachable" | "empty" | "member";
  formed?: boolean;
}
interface Entry {
  id: string;
  peer: string;
  name: string;
  started: boolean;
}

const view = fc.oneof(
  fc.constant<View>({ state: "unreachable" }),
  fc.constant<View>({ state: "empty" }),
  fc.boolean().map((formed): View => ({ state: "member", formed })),
);
const views = fc.dictionary(fc.constantFrom("a", "b", "c", "d"), view);

describe("decisions of a member of the witness", () => {
  before(() => {
    python = spawn("python3", ["-c", DRIVER, FILES]);
    python.stderr.on("data", (chunk: Buffer) => (complaints += chunk.toString()));
    answers = createInterface({ input: python.stdout })[Symbol.asyncIterator]();
  });
  after(() => python.kill());

  it("a founder has a majority with it, knows of no formed witness, and may found", async () => {
    await fc.assert(
      fc.asyncProperty(views, fc.boolean(), async (seen, mayFound) => {
        const [action, why] = (await call("decide", seen, mayFound)) as [string, string];
        const all = Object.values(seen);
        const answering = all.filter(({ state }) => state !== "unreachable").length;
        const majority = 2 * (answering + 1) > all.length + 1;
        const formed = all.some((one) => one.formed === true);
        assert.equal(action, majority && !formed && mayFound ? "found" : "wait");
        assert.ok(why.length > 0);
      }),
    );
  });

  it("says why it waits", async () => {
    const why = async (seen: Record<string, View>, mayFound = true) => await call("decide", seen, mayFound);
    const gone: View = { state: "unreachable" };
    assert.deepEqual(await why({ shanghai: gone, shenzhen: gone }), [
      "wait",
      "no majority can be founded until one of shanghai and shenzhen answers",
    ]);
    assert.deepEqual(await why({ shanghai: { state: "member", formed: true }, shenzhen: { state: "empty" } }), [
      "wait",
      "a formed witness is known to shanghai: it is joined as soon as a majority of it answers",
    ]);
    assert.match(String(await why({ shanghai: { state: "empty" }, shenzhen: gone }, false)), /mayFound is false/);
    assert.deepEqual(await why({}), ["found", "the only member"]);
  });

  const OWN = "https://own:2380";
  const entry = (peer: string): fc.Arbitrary<Entry> =>
    fc.record({
      id: fc.constantFrom("1", "2", "3", "4"),
      peer: fc.constant(peer),
      name: fc.constantFrom("", "x"),
      started: fc.boolean(),
    });
  const lists = fc
    .tuple(fc.option(entry(OWN)), entry("https://b:2380"), entry("https://c:2380"))
    .map(([own, b, c]) => [...(own ? [own] : []), b, c]);

  it("removes nobody but itself, adds itself alone and one at a time, and starts only what it added", async () => {
    await fc.assert(
      fc.asyncProperty(lists, fc.option(fc.constantFrom("1", "2")), fc.boolean(), async (list, claim, answers) => {
        const [step, what] = (await call("next_step", list, OWN, claim, answers)) as [string, string | null];
        const own = list.find(({ peer }) => peer === OWN);
        const others = list.filter((one) => one !== own);
        if (step === "remove") assert.ok(own && what === own.id && !answers);
        if (step === "add") assert.ok(!own && !answers && others.every(({ started }) => started));
        if (step === "start") assert.ok(own && !own.started && what === claim && what === own.id);
        // Whatever was done already, the next look leads on: from remove to add, from add to start.
        if (step === "remove" && others.every(({ started }) => started))
          assert.deepEqual(await call("next_step", others, OWN, claim, answers), ["add", null]);
        if (step === "add") {
          const added = [...list, { id: "9", peer: OWN, name: "", started: false }];
          assert.deepEqual(await call("next_step", added, OWN, "9", answers), ["start", "9"]);
        }
      }),
    );
  });

  it("starts the entry it added even without a majority, and no other", async () => {
    const list = [
      { id: "1", peer: "https://b:2380", name: "b", started: true },
      { id: "2", peer: OWN, name: "", started: false },
    ];
    const seen = { a: { state: "unreachable" }, b: { state: "member", formed: true, members: list } };
    assert.deepEqual(await call("claimed", seen, OWN, "2"), list);
    for (const claim of ["1", "3", null]) assert.equal(await call("claimed", seen, OWN, claim), null);
  });

  it("gives etcd the list exactly as it is", async () => {
    const list = [
      { id: "1", peer: "https://b:2380", name: "b", started: true },
      { id: "2", peer: OWN, name: "", started: false },
      { id: "3", peer: "https://c:2380", name: "", started: false },
    ];
    assert.equal(
      await call("initial_cluster", list, OWN, "own"),
      "b=https://b:2380,own=https://own:2380,member-3=https://c:2380",
    );
  });

  it("takes data for unusable by what says so, and never for want of space, rights or network", async () => {
    const unusable = (line: string) => call("unusable", [line]);
    for (const line of [
      "wal: crc mismatch",
      "panic: failed to recover v3 backend from snapshot",
      `"msg":"failed to open database","error":"file size too small"`,
      "panic: freepages: failed to get all reachable pages (page 5: multiple references)",
      'failed to open database: "invalid database"',
    ])
      assert.equal(await unusable(line), line);
    for (const line of [
      "no space left on device",
      "permission denied",
      "open /etc/witness-tls/tls.crt: no such file or directory",
      "listen tcp 0.0.0.0:2380: bind: address already in use",
      'cannot access data directory: directory "/var/lib/etcd/data" is read-only',
      "request timed out",
    ])
      assert.equal(await unusable(line), null, line);
  });

  it("sets a password only when this region's own was changed", async () => {
    const step = (accepted: string | null, works: boolean) => call("password_step", accepted, "salt", "new", works);
    const known = (await call("fingerprint", "salt", "new")) as string;
    const other = (await call("fingerprint", "salt", "old")) as string;
    assert.equal(await step(other, true), "keep");
    assert.equal(await step(other, false), "set");
    assert.equal(await step(known, false), "conflict");
    assert.equal(await step(null, false), "conflict");
  });

  it("grants what is missing and revokes what is too much", async () => {
    assert.deepEqual(await call("permission_changes", ["read a"], ["read b"]), [["read a"], ["read b"]]);
  });

  it("waits longer after each failure, up to half a minute", async () => {
    const pauses = await Promise.all([1, 2, 3, 5, 6, 50].map((n) => call("pause", n)));
    assert.deepEqual(pauses, [1, 2, 4, 16, 30, 30]);
  });
});

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";

const WATCH = new URL("../../../scripts/status/watch.ts", import.meta.url).href;

/** A program that watches a counter, in a process of its own: with signals, and with or without a terminal. */
function program(step: number): string {
  return `
    import { watch } from ${JSON.stringify(WATCH)};
    let n = 0;
    const last = await watch({
      read: async () => n++,
      text: (value) => "value " + value,
      gist: (value) => String(Math.floor(value / ${step})),
    });
    process.stdout.write("last " + last + "\\n");
  `;
}

/** Lets it run for a while, then presses Ctrl-C: the terminal's, or the signal that a shell would send. */
async function run(
  command: string,
  args: string[],
  milliseconds: number,
  terminal = false,
): Promise<{ out: string; code: number | null }> {
  const child = spawn(command, args, { stdio: ["pipe", "pipe", "inherit"] });
  let out = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (out += text));
  const ended = once(child, "close") as Promise<[number | null]>;
  await sleep(milliseconds);
  if (terminal) child.stdin.write("\x03");
  else child.kill("SIGINT");
  const [code] = await ended;
  return { out, code };
}

const evaluate = (source: string) => ["--input-type=module", "-e", source];

describe("watching", function () {
  this.timeout(20_000);

  it("prints a new board when it has changed, where there is no terminal, and ends with Ctrl-C", async () => {
    const { out, code } = await run(process.execPath, evaluate(program(2)), 5_500);
    assert.equal(code, 0);
    const shown = [...out.matchAll(/^value (\d+)$/gm)].map(([, n]) => n);
    // Looks 0, 1 and 2, of which 1 is nothing new.
    assert.deepEqual(shown, ["0", "2"]);
    assert.match(out, /last 2\n$/);
    assert.ok(!out.includes("\x1b"));
  });

  it("draws in place on a terminal, and gives it back as it was", async () => {
    const command = `exec ${process.execPath} --input-type=module -e '${program(1)}'`;
    const { out } = await run("script", ["-qec", command, "/dev/null"], 3_500, true);
    assert.ok(out.includes("\x1b[?1049h") && out.includes("\x1b[?1049l"), JSON.stringify(out));
    assert.ok(out.indexOf("value 1") > out.indexOf("value 0"));
    assert.ok(out.endsWith("last 1\r\n"), JSON.stringify(out.slice(-80)));
    // Cursor and wrapping are on again, and the last board stays.
    const after = out.slice(out.indexOf("\x1b[?1049l"));
    assert.ok(after.includes("value 1"));
    assert.ok(out.includes("\x1b[?25h") && out.includes("\x1b[?7h"));
  });
});

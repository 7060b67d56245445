/** The parts of the image build that touch the machine, with commands and folders of the tests' own. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { buildImages } from "../../../scripts/images/build.ts";
import {
  cachePaths,
  hashFile,
  hashLargeFile,
  prepareCache,
  withLock,
  writeWhole,
  type CachePaths,
} from "../../../scripts/images/cache.ts";
import { collectContext, writeContext } from "../../../scripts/images/context.ts";
import { CommandError, run } from "../../../scripts/images/run.ts";
import { baseRecipe } from "../../../scripts/images/base.ts";

describe("image build: effects", function () {
  this.timeout(20_000);
  let folder: string;
  let paths: CachePaths;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "iam-ha-effects-"));
    paths = { ...cachePaths({ XDG_CACHE_HOME: folder }), runroot: join(folder, "run") };
    await prepareCache(paths);
  });
  afterEach(async () => rm(folder, { recursive: true, force: true }));

  describe("commands", () => {
    it("give standard output, and every line as it comes", async () => {
      const lines: string[] = [];
      assert.equal(
        await run(["sh", "-c", "echo one; echo two >&2"], { timeoutMs: 5_000, onLine: (line) => lines.push(line) }),
        "one",
      );
      assert.deepEqual(lines.sort(), ["one", "two"]);
    });

    it("that fail say how, with their last lines", async () => {
      const failing = run(["sh", "-c", "for i in $(seq 100); do echo line $i; done; exit 7"], { timeoutMs: 5_000 });
      await assert.rejects(failing, (error: unknown) => {
        assert.ok(error instanceof CommandError);
        assert.match(error.message, /sh failed with code 7/);
        assert.match(error.tail, /line 100$/);
        assert.equal(error.tail.split("\n").length, 12);
        return true;
      });
      await assert.rejects(run(["no-such-program-here"], { timeoutMs: 5_000 }), /no-such-program-here/);
    });

    it("that take too long are ended with all they started", async () => {
      const file = join(folder, "pid");
      await assert.rejects(
        run(["sh", "-c", `sleep 60 & echo $! > ${file}; wait`], { timeoutMs: 500 }),
        /did not end within/,
      );
      await assertGone(Number(await readFile(file, "utf8")));
    });

    it("that are contained leave nothing when their starter is killed, whatever they ignore", async function () {
      if (process.getuid?.() !== 0) this.skip();
      const module = JSON.stringify(join(import.meta.dirname, "../../../scripts/images/run.ts"));
      const script = `trap "" TERM HUP; setsid sh -c 'trap "" TERM HUP; exec sleep 61.25' & sleep 61.75`;
      const starter = spawn(process.execPath, [
        "--input-type=module",
        "--eval",
        `import { run } from ${module}; await run(["sh", "-c", ${JSON.stringify(script)}], { timeoutMs: 60000, contained: true });`,
      ]);
      const both = async (): Promise<number> => {
        let count = 0;
        for (const pid of await readdir("/proc")) {
          const command = await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "");
          if (/^sleep\0(61\.25|61\.75)\0$/.test(command)) count += 1;
        }
        return count;
      };
      const becomes = async (count: number): Promise<void> => {
        for (let i = 0; i < 100 && (await both()) !== count; i += 1) await sleep(50);
        assert.equal(await both(), count);
      };
      await becomes(2);
      starter.kill("SIGKILL");
      await becomes(0);
    });

    it("end with the signal's reason when that is raised", async () => {
      const abort = new AbortController();
      const running = run(["sleep", "60"], { timeoutMs: 60_000, signal: abort.signal });
      setTimeout(() => abort.abort(new Error("enough")), 100);
      await assert.rejects(running, /enough/);
      await assert.rejects(run(["true"], { timeoutMs: 1_000, signal: abort.signal }), /enough/);
    });
  });

  describe("lock", () => {
    it("is held by one at a time", async () => {
      let inside = 0;
      let most = 0;
      let waits = 0;
      const enter = (): Promise<void> =>
        withLock(
          paths,
          10_000,
          undefined,
          () => (waits += 1),
          async () => {
            most = Math.max(most, (inside += 1));
            await sleep(600);
            inside -= 1;
          },
        );
      await Promise.all([enter(), enter()]);
      assert.equal(most, 1);
      assert.equal(waits, 1);
    });

    it("is free again after its holder was killed", async () => {
      const holder = spawn(
        process.execPath,
        [
          "--input-type=module",
          "--eval",
          `import { withLock } from ${JSON.stringify(join(import.meta.dirname, "../../../scripts/images/cache.ts"))};
         await withLock(${JSON.stringify(paths)}, 5000, undefined, () => {}, () => { console.log("held"); return new Promise(() => setInterval(() => {}, 1000)); });`,
        ],
        { stdio: ["ignore", "pipe", "inherit"] },
      );
      await new Promise((resolve) => holder.stdout.once("data", resolve));
      await assert.rejects(
        withLock(
          paths,
          300,
          undefined,
          () => undefined,
          async () => undefined,
        ),
        /another build of images has held/,
      );
      holder.kill("SIGKILL");
      assert.equal(
        await withLock(
          paths,
          5_000,
          undefined,
          () => undefined,
          async () => "mine",
        ),
        "mine",
      );
    });

    it("is given back when the action fails, and not waited for after an abort", async () => {
      await assert.rejects(
        withLock(
          paths,
          5_000,
          undefined,
          () => undefined,
          () => Promise.reject(new Error("inner")),
        ),
        /inner/,
      );
      await assert.rejects(
        withLock(
          paths,
          5_000,
          AbortSignal.abort(new Error("stopped")),
          () => undefined,
          async () => undefined,
        ),
        /stopped/,
      );
      assert.equal(
        await withLock(
          paths,
          5_000,
          undefined,
          () => undefined,
          async () => 1,
        ),
        1,
      );
    });
  });

  describe("files", () => {
    it("are written in full or not at all", async () => {
      await writeWhole(join(folder, "file"), "content");
      assert.equal((await stat(join(folder, "file"))).mode & 0o777, 0o600);
      await mkdir(join(folder, "taken"));
      await assert.rejects(writeWhole(join(folder, "taken"), "content"));
      assert.deepEqual(
        (await readdir(folder)).filter((name) => name.includes("partial")),
        [],
      );
    });

    it("of large size are hashed again only when they change", async () => {
      const file = join(folder, "large");
      await writeFile(file, "one");
      assert.equal(await hashLargeFile(paths, file), await hashFile(file));
      await writeFile(file, "two");
      assert.equal(await hashLargeFile(paths, file), await hashFile(file));
    });

    it("of a context keep nothing of their modes but executable or not; links are refused", async () => {
      const context = join(folder, "images/edge");
      await mkdir(join(context, "sub"), { recursive: true });
      await mkdir(join(context, "dist"));
      await writeFile(join(context, "Containerfile"), "FROM scratch\n", { mode: 0o600 });
      await writeFile(join(context, "sub/script"), "#!/bin/sh\n");
      await chmod(join(context, "sub/script"), 0o700);
      await writeFile(join(context, "dist/left-over"), "of another build");
      const spec = { name: "edge", holds: "", bundles: false, buildArgs: {} } as const;
      const { entries } = await collectContext(folder, spec, paths);
      assert.deepEqual(entries.map(({ path, executable }) => [path, executable]).sort(), [
        ["Containerfile", false],
        ["sub/script", true],
      ]);
      await writeContext(entries, join(folder, "out"));
      assert.equal((await stat(join(folder, "out/Containerfile"))).mode & 0o777, 0o644);
      assert.equal((await stat(join(folder, "out/sub/script"))).mode & 0o777, 0o755);
      await symlink("Containerfile", join(context, "link"));
      await assert.rejects(collectContext(folder, spec, paths), /link is neither a file nor a folder/);
    });
  });

  describe("with everything in the cache", () => {
    const seed = async (): Promise<void> => {
      const base = join(paths.base, baseRecipe());
      await mkdir(base);
      await writeFile(join(base, "base.tar"), "");
      await writeFile(join(base, "id"), `${"a".repeat(64)}\n`);
    };

    it("nothing is built, and a half-made archive does not count", async () => {
      await mkdir(join(folder, "images/edge"), { recursive: true });
      await writeFile(join(folder, "images/edge/Containerfile"), "FROM scratch\n");
      await seed();
      const options = { root: folder, paths, names: ["edge"] };
      // Only the reference is wanted here: an aborted build gives none, so the archive is put where it belongs first.
      const { listImages } = await import("../../../scripts/images/build.ts");
      const [listed] = (await listImages(options)) ?? [];
      assert.ok(listed);
      assert.equal(listed.built, false);
      await writeFile(`${listed.tar}.partial`, "half");
      assert.equal((await listImages(options))?.[0]?.built, false);
      await writeFile(listed.tar, "whole");
      const events: string[] = [];
      const built = await buildImages({ ...options, onProgress: ({ image, step }) => events.push(`${image} ${step}`) });
      assert.deepEqual(built, [{ name: "edge", ref: listed.ref, tar: listed.tar }]);
      assert.deepEqual(events, ["edge cached"]);
    });
  });
});

/** A process that has ended, or is only waiting for its parent to notice. */
async function assertGone(pid: number): Promise<void> {
  for (let i = 0; i < 50; i += 1) {
    const state = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => "");
    if (state === "" || /\) Z /.test(state)) return;
    await sleep(50);
  }
  assert.fail(`process ${pid} still runs`);
}

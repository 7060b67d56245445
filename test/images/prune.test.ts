/** Removal of what earlier inputs left in a cache, with a cache of the test's own and the real engine. */
import assert from "node:assert/strict";
import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { baseRecipe } from "../../scripts/images/base.ts";
import { cachePaths, prepareCache } from "../../scripts/images/cache.ts";
import { buildImages, IMAGES, listImages, pruneImages } from "../../scripts/images/index.ts";

describe("prune", function () {
  it("removes archives and bases of earlier inputs, and keeps what the sources need now", async function () {
    if (process.getuid?.() !== 0) this.skip();
    this.timeout(15 * 60_000);
    await buildImages();
    const folder = await mkdtemp(join(tmpdir(), "iam-ha-prune-"));
    try {
      const paths = { ...cachePaths({ XDG_CACHE_HOME: folder }), runroot: join(folder, "run") };
      await prepareCache(paths);
      for (const recipe of [baseRecipe(), "of-old"]) {
        await mkdir(join(paths.base, recipe));
        await writeFile(join(paths.base, recipe, "id"), "a".repeat(64));
        await writeFile(join(paths.base, recipe, "base.tar"), "");
      }
      const current = (await listImages({ paths })) ?? [];
      assert.equal(current.length, IMAGES.length);
      for (const { tar } of current) await writeFile(tar, "");
      await writeFile(join(paths.archives, "edge-000000000000.tar"), "");
      assert.deepEqual(await pruneImages({ paths }), ["edge-000000000000.tar"]);
      assert.ok((await listImages({ paths }))?.every(({ built }) => built));
      assert.deepEqual(await readdir(paths.base), [baseRecipe()]);
      assert.deepEqual(await pruneImages({ paths }), []);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
});

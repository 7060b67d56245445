import assert from "node:assert/strict";
import fc from "fast-check";
import {
  archiveName,
  contentTag,
  localReference,
  stepOf,
  type ContextFile,
  type ImageInputs,
} from "../../../scripts/images/plan.ts";

const hex = fc.string({ unit: fc.constantFrom(..."0123456789abcdef"), minLength: 64, maxLength: 64 });
const file = fc.record({
  path: fc.stringMatching(/^[a-z]{1,8}(\/[a-z]{1,8})?$/),
  executable: fc.boolean(),
  sha256: hex,
});
const inputs: fc.Arbitrary<ImageInputs> = fc
  .record({
    name: fc.constantFrom("edge", "redis"),
    base: hex,
    buildArgs: fc.dictionary(fc.stringMatching(/^[A-Z]{1,5}$/), fc.string({ maxLength: 5 }), { maxKeys: 4 }),
    files: fc.uniqueArray(file, { selector: ({ path }) => path, maxLength: 6 }),
    containerfile: hex,
  })
  .map(({ containerfile, files, ...rest }) => ({
    ...rest,
    files: [{ path: "Containerfile", executable: false, sha256: containerfile }, ...files],
  }));

describe("image tags", () => {
  it("are 12 hex digits and do not depend on the order of files or arguments", () => {
    fc.assert(
      fc.property(inputs, (given) => {
        const turned = {
          ...given,
          files: [...given.files].reverse(),
          buildArgs: Object.fromEntries(Object.entries(given.buildArgs).reverse()),
        };
        const tag = contentTag(given);
        assert.match(tag, /^[0-9a-f]{12}$/);
        assert.equal(contentTag(turned), tag);
      }),
    );
  });

  it("change with every input", () => {
    const flip = (text: string): string => (text.startsWith("0") ? "1" : "0") + text.slice(1);
    fc.assert(
      fc.property(inputs, fc.nat(), (given, at) => {
        const index = at % given.files.length;
        const change = (patch: (one: ContextFile) => Partial<ContextFile>): ImageInputs => ({
          ...given,
          files: given.files.map((one, i) => (i === index ? { ...one, ...patch(one) } : one)),
        });
        const others = [
          { ...given, name: `${given.name}x` },
          { ...given, base: flip(given.base) },
          { ...given, buildArgs: { ...given.buildArgs, EXTRA_ARG: "" } },
          { ...given, files: [...given.files, { path: "more/of/it", executable: false, sha256: given.base }] },
          change(({ sha256 }) => ({ sha256: flip(sha256) })),
          change(({ executable }) => ({ executable: !executable })),
        ];
        const tags = [given, ...others].map(contentTag);
        assert.equal(new Set(tags).size, tags.length);
      }),
    );
  });

  it("can't be had for a context without a Containerfile, or with a path twice", () => {
    const one = { path: "Containerfile", executable: false, sha256: "0" };
    assert.throws(
      () => contentTag({ name: "edge", base: "b", buildArgs: {}, files: [] }),
      /there is no images\/edge\/Containerfile/,
    );
    assert.throws(() => contentTag({ name: "edge", base: "b", buildArgs: {}, files: [one, one] }), /twice/);
  });

  it("name references and archives", () => {
    assert.equal(localReference("edge", "0123456789ab"), "localhost/iam-ha/edge:0123456789ab");
    assert.equal(archiveName("edge", "0123456789ab"), "edge-0123456789ab.tar");
  });
});

describe("progress of the build engine", () => {
  it("is read from its steps, and from nothing else", () => {
    assert.deepEqual(stepOf("STEP 1/4: FROM x"), { fraction: 0, detail: "FROM x" });
    assert.deepEqual(stepOf("STEP 3/4: RUN a;     b"), { fraction: 0.5, detail: "RUN a; b" });
    assert.equal(stepOf(`STEP 4/4: RUN ${"a".repeat(99)}`)?.detail.length, 60);
    for (const line of ["", "COMMIT x", "--> 0123", " STEP 1/2: x"]) assert.equal(stepOf(line), undefined);
  });
});

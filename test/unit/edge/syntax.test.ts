import assert from "node:assert/strict";
import { block, comment, d, literal, print } from "../../../components/edge/syntax.ts";

describe("the text of an NGINX configuration", () => {
  it("is one directive a line, with blocks set in", () => {
    const text = print([comment("why"), block("server", [], [d("listen", 80), d("return", 200, "a b\n")])]);
    assert.equal(text, '# why\nserver {\n    listen 80;\n    return 200 "a b\\n";\n}\n');
  });

  it("quotes what NGINX would read as its own", () => {
    for (const [argument, written] of [
      ["", '""'],
      ["a;b", '"a;b"'],
      ["a{b}", '"a{b}"'],
      ["# no comment", '"# no comment"'],
      ['{"a":1}', `'{"a":1}'`],
      ["it's", `"it's"`],
      [`both ' and "`, `"both ' and \\""`],
      ["back\\slash", '"back\\\\slash"'],
      ["$host", "$host"],
    ] as const) {
      assert.equal(print([d("x", argument)]), `x ${written};\n`);
    }
  });

  it("refuses what no quoting makes harmless", () => {
    assert.throws(() => print([d("x", "a\u0000b")]), RangeError);
    assert.throws(() => print([comment("a\nlisten 80;")]), RangeError);
    assert.throws(() => literal("$host"), /variable/);
  });
});

import assert from "node:assert/strict";
import { parseContexts, parseRegions } from "../../../scripts/arguments.ts";

describe("arguments of start", () => {
  it("takes regions once each", () => {
    assert.deepEqual(parseRegions("shanghai, beijing,shanghai"), ["shanghai", "beijing"]);
  });

  it("says which region it does not know and which it does", () => {
    assert.throws(() => parseRegions("beijing,tokyo"), /found "tokyo"; regions are beijing, shanghai, shenzhen/);
  });

  it("takes contexts by region", () => {
    assert.deepEqual(parseContexts("beijing=kind-a,shanghai=prod/eu=1"), { beijing: "kind-a", shanghai: "prod/eu=1" });
  });

  for (const wrong of ["beijing", "beijing=", "tokyo=kind-a", ""]) {
    it(`refuses "${wrong}"`, () => {
      assert.throws(() => parseContexts(wrong), /write region=context with a region of beijing, shanghai, shenzhen/);
    });
  }

  it("refuses a region named twice", () => {
    assert.throws(() => parseContexts("beijing=a,beijing=b"), /beijing is named twice/);
  });
});

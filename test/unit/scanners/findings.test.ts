import assert from "node:assert/strict";
import fc from "fast-check";
import {
  judge,
  checkovFindings,
  kubeconformFindings,
  kubeScoreFindings,
  parseExceptions,
  type Exception,
  zizmorFindings,
  type Finding,
} from "../../../scripts/scanners/findings.ts";
import { EXCUSED, readExceptions } from "../../../scripts/scanners/scan.ts";

const finding = (check: string, object: string): Finding => ({ scanner: "s", check, object, text: "" });
const exception = (check: string, ...objects: string[]): Exception => ({
  scanner: "s",
  check,
  objects,
  reason: "because it has to be like this here",
});

describe("findings of scanners and their exceptions", () => {
  it("a finding without an exception is open, of another check or scanner too", () => {
    const found = [finding("a", "Service/x"), finding("b", "Service/x")];
    assert.deepEqual(judge(found, [exception("a", "Service/x")]).open, [found[1]]);
    assert.deepEqual(judge(found, [{ ...exception("a", "Service/x"), scanner: "t" }]).open, found);
  });

  it("an object of an exception that nothing was found in is stale, also beside others", () => {
    const { open, stale } = judge([finding("a", "Service/x")], [exception("a", "Service/x", "Service/y")]);
    assert.deepEqual(open, []);
    assert.deepEqual(stale, ["s a Service/y"]);
  });

  it("a star stands for any part of a name, and everything else for itself", () => {
    const { open } = judge(
      ["Service/db-1", "Service/db", "Service/xdb-1", "StatefulSet/db-1"].map((object) => finding("a", object)),
      [exception("a", "Service/db-*")],
    );
    assert.deepEqual(
      open.map(({ object }) => object),
      ["Service/db", "Service/xdb-1", "StatefulSet/db-1"],
    );
    assert.equal(judge([finding("a", "Service/dbx1")], [exception("a", "Service/db.1")]).open.length, 1);
  });

  it("nothing is lost: each finding is open or has an exception, and each pattern is stale or of use", () => {
    const name = fc.constantFrom("A/x", "A/y", "B/x");
    const check = fc.constantFrom("a", "b");
    fc.assert(
      fc.property(
        fc.array(fc.tuple(check, name)),
        fc.array(fc.tuple(check, fc.oneof(name, fc.constant("*")))),
        (f, e) => {
          const findings = f.map(([c, o]) => finding(c, o));
          const { open, stale } = judge(
            findings,
            e.map(([c, o]) => exception(c, o)),
          );
          const hit = (c: string, o: string) => e.some(([ec, eo]) => ec === c && (eo === "*" || eo === o));
          assert.deepEqual(
            open,
            findings.filter(({ check: c, object: o }) => !hit(c, o)),
          );
          const unused = e.filter(([ec, eo]) => !f.some(([c, o]) => c === ec && (eo === "*" || eo === o)));
          assert.equal(stale.length, unused.length);
        },
      ),
    );
  });

  it("exceptions are refused with an unknown key, without a reason, and with no object", () => {
    const good = exception("a", "Service/x");
    assert.deepEqual(parseExceptions([good], ["s"]), [good]);
    assert.throws(() => parseExceptions([{ ...good, object: "x" }], ["s"]), /exceptions\.0: .*object/);
    assert.throws(() => parseExceptions([{ ...good, reason: "so" }], ["s"]), /exceptions\.0\.reason: must say why/);
    assert.throws(() => parseExceptions([{ ...good, objects: [] }], ["s"]), /exceptions\.0\.objects/);
    assert.throws(() => parseExceptions([{ ...good, objects: ["a b"] }], ["s"]), /must be `Kind\/name`/);
    assert.throws(() => parseExceptions({}, ["s"]), /exceptions\./);
    assert.throws(() => parseExceptions([good], ["t"]), /exceptions\.0\.scanner/);
  });

  it("those of the project can be read", () => {
    for (const scanner of EXCUSED) assert.ok(readExceptions(scanner).length > 0);
  });
});

describe("what scanners answer", () => {
  const score = (checks: object[]) => [{ type_meta: { kind: "Service" }, object_meta: { name: "x" }, checks }];
  const check = (grade: number, comments: object[] | null, skipped = false) => ({
    check: { id: "c" },
    grade,
    skipped,
    comments,
  });

  it("kube-score: everything below its best grade is a finding, a comment each", () => {
    const comment = (path: string) => ({ path, summary: "bad", description: "" });
    assert.deepEqual(
      kubeScoreFindings(
        score([check(10, null), check(5, [comment("a"), comment("b")]), check(1, null), check(1, [], true)]),
      ),
      ["a: bad", "b: bad", "no comment"].map((text) => ({
        scanner: "kube-score",
        check: "c",
        object: "Service/x",
        text,
      })),
    );
  });

  it("kube-score: one that has checked nothing, or says something else, has not passed", () => {
    for (const answer of [[], score([]), score([check(10, null, true)])])
      assert.throws(() => kubeScoreFindings(answer), /checked nothing/);
    assert.throws(() => kubeScoreFindings({ objects: [] }));
  });

  it("kubeconform: what is not valid is a finding, also a kind that it skipped", () => {
    const resource = (status: string) => ({ kind: "Service", name: "x", status, msg: "why" });
    const { valid, findings } = kubeconformFindings({
      resources: ["statusValid", "statusInvalid", "statusSkipped", "statusError"].map(resource),
    });
    assert.equal(valid, 1);
    assert.deepEqual(
      findings.map(({ check: status }) => status),
      ["statusInvalid", "statusSkipped", "statusError"],
    );
    assert.throws(() => kubeconformFindings({}));
  });

  it("checkov: each failed check is a finding; one that read or passed nothing has not passed", () => {
    const failed = { check_id: "CKV_1", check_name: "name", resource: "Role.iam.a.b" };
    const answer = (passed: number, parsing_errors = 0) => ({
      results: { failed_checks: [failed] },
      summary: { passed, parsing_errors },
    });
    assert.deepEqual(checkovFindings(answer(1)), [
      { scanner: "checkov", check: "CKV_1", object: "Role/a.b", text: "name" },
    ]);
    assert.throws(() => checkovFindings(answer(0)), /cannot have looked/);
    assert.throws(() => checkovFindings(answer(1, 1)), /could not read/);
    // What it writes where it has found no resource.
    assert.throws(() => checkovFindings({ passed: 0, failed: 0, resource_count: 0 }));
  });

  it("zizmor: a finding has its file and line", () => {
    const at = (path: string, kind: string, row: number) => ({
      symbolic: { key: { Local: { verbatim_path: path } }, kind },
      concrete: { location: { start_point: { row } } },
    });
    const locations = [at(".github/workflows/a.yml", "Related", 1), at(".github/workflows/a.yml", "Primary", 4)];
    assert.deepEqual(zizmorFindings([{ ident: "i", desc: "d", locations }]), [
      { scanner: "zizmor", check: "i", object: "Workflow/a.yml", text: "line 5: d" },
    ]);
    assert.deepEqual(zizmorFindings([]), []);
    assert.throws(() => zizmorFindings([{ ident: "i", desc: "d", locations: [] }]));
  });
});

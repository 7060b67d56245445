import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import fc from "fast-check";
import { programImage, tar } from "../../../scripts/local/plan/archive.ts";

/** What the system's own tar finds in an archive. */
function list(archive: Buffer): string[] {
  return execFileSync("tar", ["-tvf", "-"], { input: archive, encoding: "utf8" }).trim().split("\n");
}

function extract(archive: Buffer, path: string): Buffer {
  return execFileSync("tar", ["-xOf", "-", path], { input: archive, maxBuffer: 1 << 26 });
}

describe("archives of the cluster's own images", () => {
  it("are read by tar, whatever the content's length", () => {
    for (const length of [0, 1, 511, 512, 513, 5000]) {
      const content = Buffer.alloc(length, "x");
      const archive = tar([{ path: "bin/program", mode: 0o755, content }]);
      assert.equal(archive.length % 512, 0);
      assert.match(list(archive)[0]!, new RegExp(`^-rwxr-xr-x 0/0 +${length} 1970-01-01 .* bin/program$`));
      assert.deepEqual(extract(archive, "bin/program"), content);
    }
  });

  it("are the same for the same program and differ for another", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 2000 }), (bytes) => {
        const make = (program: Buffer) =>
          programImage({ reference: "localhost/a:1", path: "/a", program, user: "1:1" });
        assert.deepEqual(make(Buffer.from(bytes)), make(Buffer.from(bytes)));
        assert.notDeepEqual(make(Buffer.from(bytes)), make(Buffer.concat([Buffer.from(bytes), Buffer.from("!")])));
      }),
      { numRuns: 20 },
    );
  });

  it("name the reference, the program and a user that is not root", () => {
    const archive = programImage({
      reference: "localhost/iam-ha/pause:1",
      path: "/hostkit",
      program: Buffer.from("elf"),
      user: "10001:10001",
    });
    const [manifest] = JSON.parse(extract(archive, "manifest.json").toString()) as {
      Config: string;
      RepoTags: string[];
      Layers: string[];
    }[];
    assert.deepEqual(manifest?.RepoTags, ["localhost/iam-ha/pause:1"]);
    const config = JSON.parse(extract(archive, manifest.Config).toString()) as {
      config: { Entrypoint: string[]; User: string };
    };
    assert.deepEqual(config.config, { Entrypoint: ["/hostkit"], User: "10001:10001", WorkingDir: "/" });
    assert.deepEqual(extract(extract(archive, manifest.Layers[0]!), "hostkit").toString(), "elf");
  });
});

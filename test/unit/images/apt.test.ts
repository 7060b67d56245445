import assert from "node:assert/strict";
import { fetchSettings, sourcesFor } from "../../../scripts/images/apt.ts";

const DEB822 = `# first of all, a comment
Types: deb deb-src
URIs: http://mirror.example.net/debian/
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://security.example.net/debian-security
Suites: bookworm-security
Components: main
`;

describe("the host's package mirrors", () => {
  it("are taken over for another release, deb822", () => {
    assert.deepEqual(sourcesFor([DEB822], "bookworm", "trixie"), [
      "deb http://mirror.example.net/debian trixie main",
      "deb http://mirror.example.net/debian trixie-updates main",
      "deb http://security.example.net/debian-security trixie-security main",
    ]);
  });

  it("are taken over for the same release, one-line", () => {
    const text = [
      "deb [arch=amd64 signed-by=/usr/share/keyrings/x.gpg] https://mirror.example.net/debian trixie main non-free # ours",
      "#deb http://off.example.net/debian trixie main",
      "deb-src http://mirror.example.net/debian trixie main",
    ].join("\n");
    assert.deepEqual(sourcesFor([text], "trixie", "trixie"), ["deb https://mirror.example.net/debian trixie main"]);
  });

  it("of other archives, other releases, backports and disabled entries are left out", () => {
    const files = [
      "deb http://tools.example.net/apt cloud-bookworm main\ndeb http://mirror.example.net/debian bookworm-backports main",
      "Types: deb\nURIs: http://node.example.net/node_20.x\nSuites: nodistro\nComponents: main\n",
      "Types: deb\nEnabled: no\nURIs: http://mirror.example.net/debian\nSuites: bookworm\nComponents: main\n",
      "deb http://mirror.example.net/debian bookworm contrib",
    ];
    assert.deepEqual(sourcesFor(files, "bookworm", "trixie"), []);
  });

  it("are none where only security updates have one", () => {
    assert.deepEqual(
      sourcesFor(["deb http://security.example.net/debian-security bookworm-security main"], "bookworm", "trixie"),
      [],
    );
  });

  it("of a field over several lines are all taken", () => {
    const text =
      "Types: deb\nURIs:\n http://a.example.net/debian\n http://b.example.net/debian\nSuites: trixie\nComponents: main\n";
    assert.equal(sourcesFor([text], "trixie", "trixie").length, 2);
  });
});

describe("the host's settings for fetching packages", () => {
  it("are those on how to fetch, not on what", () => {
    const dump = [
      'Acquire "";',
      'Acquire::http::Proxy "http://proxy.example.net:3128/";',
      'Acquire::https::Verify-Peer "true";',
      'Acquire::Retries "3";',
      'Acquire::Check-Valid-Until "false";',
      'Acquire::Languages:: "de";',
      'Acquire::http::Empty "";',
      'DPkg::Post-Invoke:: "rm -rf x";',
    ].join("\n");
    assert.deepEqual(fetchSettings(dump), [
      'Acquire::http::Proxy "http://proxy.example.net:3128/";',
      'Acquire::https::Verify-Peer "true";',
      'Acquire::Retries "3";',
      'Acquire::Check-Valid-Until "false";',
    ]);
  });
});

import assert from "node:assert/strict";
import fc from "fast-check";
import { edgeConfig, edgeTree, serverNames, type EdgeFiles, type EdgePlan } from "../../../components/edge/plan.ts";
import { edgeSettings } from "../../../components/edge/settings.ts";
import { walk, type Directive, type Node } from "../../../components/edge/syntax.ts";

const UPSTREAM = { servers: ["iam-api-1", "iam-api-2", "iam-api-3"], port: 3000, tls: true, tlsName: "iam-api" };

function plan(settings: unknown = {}, more: Partial<EdgePlan> = {}): EdgePlan {
  return {
    settings: edgeSettings.parse(settings),
    region: "beijing",
    domain: "iam.example.com",
    upstream: UPSTREAM,
    ...more,
  };
}

/** What the sidecar writes is included too, and is not there at first. */
const FROM_SIDECAR = "/etc/nginx/upstreams/*.conf";

/** The configuration as NGINX sees it: with the content of each file where it is included. */
function assembled(files: EdgeFiles): Node[] {
  const expand = (nodes: readonly Node[]): Node[] =>
    nodes.flatMap((node) => {
      if ("comment" in node) return [];
      if (node.name === "include") {
        if (node.args[0] === FROM_SIDECAR) return [];
        const file = files[node.args[0]!];
        assert.ok(file, `${node.args[0]} is not among the files`);
        return expand(file);
      }
      return [node.block ? { ...node, block: expand(node.block) } : node];
    });
  return expand(files["nginx.conf"]!);
}

function all(nodes: readonly Node[], name: string): { directive: Directive; around: readonly Directive[] }[] {
  return [...walk(nodes)].filter(({ directive }) => directive.name === name);
}

function own(directive: Directive, name: string): Directive[] {
  return (directive.block ?? []).filter((node): node is Directive => !("comment" in node) && node.name === name);
}

const settingsArbitrary = fc
  .record({
    clientAddress: fc.constantFrom(
      { mode: "direct" },
      { mode: "proxy-protocol", trusted: ["10.0.0.0/8"] },
      { mode: "x-forwarded-for", trusted: ["10.0.0.0/8", "2001:db8::/32"] },
    ),
    serverNames: fc.array(
      fc.domain().map((name) => name.toLowerCase()),
      { maxLength: 3 },
    ),
    securityHeaders: fc.dictionary(
      fc.stringMatching(/^[A-Z][A-Za-z]{2,10}-[A-Z]{1,3}$/),
      fc.stringMatching(/^[ !#%-\x5b\x5d-~]{1,30}$/),
      { maxKeys: 4 },
    ),
    limits: fc.record({
      api: fc.record({ ratePerSecond: fc.integer({ min: 1, max: 1000 }), burst: fc.integer({ min: 0, max: 1000 }) }),
      login: fc.record({ ratePerSecond: fc.integer({ min: 1, max: 1000 }), burst: fc.integer({ min: 0, max: 1000 }) }),
    }),
    loginPaths: fc.constantFrom(["/api/auth/login"], ["/api/v1/login", "/api/v2/sessions"]),
    ipv6: fc.boolean(),
    log: fc.record({ format: fc.constantFrom("main", "json") }),
    gzip: fc.record({ level: fc.integer({ min: 0, max: 9 }) }),
  })
  .filter((settings) => edgeSettings.safeParse(settings).success);

describe("the edge's configuration", () => {
  it("has the design's figures", () => {
    const nodes = assembled(edgeTree(plan()));
    const args = (name: string) => all(nodes, name).map(({ directive }) => directive.args.join(" "));
    assert.deepEqual(args("limit_req_zone"), [
      "$binary_remote_addr zone=api:10m rate=10r/s",
      "$binary_remote_addr zone=login:10m rate=5r/s",
    ]);
    assert.deepEqual(new Set(args("limit_req")), new Set(["zone=api burst=20 nodelay", "zone=login burst=10 nodelay"]));
    assert.deepEqual(args("limit_req_status"), ["429"]);
    const [upstream] = all(nodes, "upstream");
    const servers = own(upstream!.directive, "server").map(({ args }) => args.join(" "));
    assert.deepEqual(
      servers,
      ["iam-api-1:3000", "iam-api-2:3000", "iam-api-3:3000"].map((host) => `${host} max_fails=3 fail_timeout=30s`),
    );
    assert.equal(own(upstream!.directive, "least_conn").length, 1);
    assert.deepEqual(own(upstream!.directive, "keepalive")[0]!.args, ["32"]);
    assert.deepEqual(args("gzip_comp_level"), ["6"]);
    assert.deepEqual(args("client_max_body_size"), ["10m"]);
    assert.deepEqual(args("ssl_protocols"), ["TLSv1.2 TLSv1.3"]);
    assert.deepEqual(args("worker_connections"), ["1024"]);
    assert.match(args("ssl_ciphers")[0]!, /ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256/);
  });

  it("includes what it has, and has what it includes", () => {
    const files = edgeTree(plan());
    const included = Object.values(files).flatMap((nodes) =>
      all(nodes, "include").map(({ directive }) => directive.args[0]!),
    );
    assert.deepEqual(new Set([...included, "nginx.conf"]), new Set([...Object.keys(files), FROM_SIDECAR]));
  });

  it("sends every security header from every place that adds any", () => {
    fc.assert(
      fc.property(settingsArbitrary, (settings) => {
        const p = plan(settings);
        const nodes = assembled(edgeTree(p));
        for (const { directive, around } of walk(nodes)) {
          const headers = own(directive, "add_header");
          if (headers.length === 0) continue;
          const always = new Set(headers.filter(({ args }) => args.at(-1) === "always").map(({ args }) => args[0]));
          const where = [...around, directive].map(({ name, args }) => [name, ...args].join(" ")).join(" > ");
          for (const name of [...Object.keys(p.settings.securityHeaders), "X-Request-ID"])
            assert.ok(always.has(name), `${name} in ${where}`);
          const server = [...around, directive].find(({ name }) => name === "server")!;
          const overTls = own(server, "listen").some(({ args }) => args.includes("ssl"));
          assert.equal(always.has("Strict-Transport-Security"), overTls, where);
        }
        // And every server adds them, so no response is without.
        const open = all(nodes, "server").filter(
          ({ directive, around }) =>
            around.at(-1)?.name === "http" && !own(directive, "listen")[0]!.args[0]!.startsWith("127."),
        );
        assert.equal(open.length, 6);
        for (const { directive } of open) assert.ok(own(directive, "add_header").length > 0);
      }),
      { numRuns: 50 },
    );
  });

  it("limits every place that passes requests under /api/ to the API, and keeps connections open in every one", () => {
    fc.assert(
      fc.property(settingsArbitrary, (settings) => {
        const nodes = assembled(edgeTree(plan(settings)));
        const proxied = all(nodes, "location").filter(({ directive }) => own(directive, "proxy_pass").length > 0);
        // From clients and from other edges; what is static; and the two ways to another edge.
        assert.equal(proxied.length, 2 * (1 + 2 * settings.loginPaths.length) + 1 + 2);
        for (const { directive } of proxied) {
          const path = directive.args.at(-1)!;
          const far = path.startsWith("/.peer/");
          assert.equal(own(directive, "proxy_pass")[0]!.args[0]!.startsWith("https://iam_peer$"), far);
          // Where a request is served its client's limit is met, and nowhere else.
          const zone = path === "/static/" || far ? [] : [`zone=${path === "/api/" ? "api" : "login"}`];
          assert.deepEqual(
            own(directive, "limit_req").map(({ args }) => args[0]),
            zone,
            path,
          );
          assert.deepEqual(own(directive, "proxy_http_version")[0]!.args, ["1.1"]);
          const set = Object.fromEntries(own(directive, "proxy_set_header").map(({ args }) => [args[0], args[1]]));
          assert.equal(set["Connection"], "");
          assert.equal(set["X-Forwarded-For"], far ? "" : "$remote_addr");
          assert.equal(set["X-Real-IP"], "$remote_addr");
          assert.deepEqual(own(directive, "proxy_next_upstream")[0]!.args.includes("non_idempotent"), false);
          // An error_page of a location drops all others: it has none, or the full set.
          const statuses = (block: Directive) =>
            own(block, "error_page").flatMap(({ args }) => args.filter((arg) => /^[0-9]{3}$/.test(arg)));
          const server = all(nodes, "server").find(({ directive: server }) =>
            own(server, "location").includes(directive),
          );
          assert.deepEqual(statuses(directive).sort(), far ? statuses(server!.directive).sort() : []);
        }
      }),
      { numRuns: 50 },
    );
  });

  it("lets what another edge passed on go no further, and takes it from edges alone", () => {
    fc.assert(
      fc.property(settingsArbitrary, (settings) => {
        const nodes = assembled(edgeTree(plan(settings)));
        const servers = all(nodes, "server").filter(({ directive }) => own(directive, "listen").length > 0);
        for (const { directive: server } of servers) {
          const isPeer = own(server, "listen").some(({ args }) => args[0]!.endsWith("8444"));
          const within = [...walk(server.block!)].map(({ directive }) => directive);
          const passesOn = within.filter(({ name, args }) => name === "rewrite" && args[1]!.startsWith("/.peer/"));
          assert.equal(
            within.some(({ name }) => name === "ssl_verify_client"),
            isPeer,
          );
          if (!isPeer) {
            assert.ok(within.every(({ name }) => name !== "set_real_ip_from"));
            continue;
          }
          assert.deepEqual(passesOn, []);
          assert.deepEqual(own(server, "ssl_verify_client")[0]!.args, ["on"]);
          for (const location of within.filter((directive) => own(directive, "proxy_pass").length > 0))
            assert.deepEqual(own(location, "if")[0]!.args.join(" "), "($edge_from_peer = 0)");
        }
        assert.equal(servers.filter(({ directive }) => own(directive, "ssl_verify_client").length > 0).length, 1);
      }),
      { numRuns: 50 },
    );
  });

  it("lets no text of the config become a directive", () => {
    fc.assert(
      fc.property(settingsArbitrary, (settings) => {
        const p = plan(settings);
        const tree = edgeTree(p);
        for (const [file, text] of Object.entries(edgeConfig(p)))
          assert.deepEqual(parse(text), withoutComments(tree[file]!), file);
      }),
      { numRuns: 50 },
    );
  });

  it("answers to the platform's names, the region's, and those added, each once", () => {
    const names = serverNames(plan({ serverNames: ["iam.example.org", "api.iam.example.com"] }));
    assert.deepEqual(names, [
      "iam.example.com",
      "api.iam.example.com",
      "api-beijing.iam.example.com",
      "iam.example.org",
    ]);
  });

  it("believes a proxy's word on addresses only in the modes that name proxies", () => {
    const real = (settings: unknown) =>
      all(assembled(edgeTree(plan(settings))), "set_real_ip_from").map(({ directive }) => directive.args[0]);
    // Of everyone is believed who got through to the port of other edges: it takes no one else.
    const edges = ["0.0.0.0/0", "::/0"];
    assert.deepEqual(real({}), edges);
    assert.deepEqual(real({ clientAddress: { mode: "proxy-protocol", trusted: ["10.0.0.0/8"] } }), [
      "10.0.0.0/8",
      ...edges,
    ]);
    const listens = all(
      assembled(edgeTree(plan({ clientAddress: { mode: "proxy-protocol", trusted: ["10.0.0.0/8"] } }))),
      "listen",
    );
    const withHeader = listens
      .filter(({ directive }) => directive.args.includes("proxy_protocol"))
      .map(({ directive }) => directive.args[0]);
    assert.deepEqual(new Set(withHeader), new Set(["8080", "8443", "8444"]));
  });

  it("checks the API's certificate and shows its own, and neither in plain", () => {
    const nodes = assembled(edgeTree(plan()));
    const proxied = all(nodes, "location").filter(({ directive }) => own(directive, "proxy_pass").length > 0);
    for (const { directive } of proxied) {
      const far = directive.args.at(-1)!.startsWith("/.peer/");
      assert.deepEqual(own(directive, "proxy_pass")[0]!.args, [
        far ? "https://iam_peer$request_uri" : "https://iam_api",
      ]);
      assert.deepEqual(own(directive, "proxy_ssl_verify")[0]!.args, ["on"]);
      assert.deepEqual(own(directive, "proxy_ssl_name")[0]!.args, [far ? "$edge_peer" : "iam-api"]);
    }
    const plain = edgeConfig(plan({}, { upstream: { ...UPSTREAM, tls: false } }));
    assert.match(plain["proxy.conf"]!, /proxy_pass http:\/\/iam_api;/);
    assert.doesNotMatch(plain["proxy.conf"]!, /proxy_ssl/);
  });
});

function withoutComments(nodes: readonly Node[]): unknown[] {
  return nodes.flatMap((node) =>
    "comment" in node ? [] : [[node.name, ...node.args, ...(node.block ? [withoutComments(node.block)] : [])]],
  );
}

/** Reads a configuration as NGINX's own reader does (ngx_conf_read_token): words, quotes, escapes, comments, blocks. */
function parse(text: string): unknown[] {
  let at = 0;
  const word = (): string => {
    const mark = text[at] === '"' || text[at] === "'" ? text[at++]! : undefined;
    let out = "";
    while (mark ? text[at] !== mark : !/[\s;{}]/.test(text[at] ?? ";")) {
      if (text[at] === "\\") {
        const next = text[at + 1]!;
        out +=
          ({ '"': '"', "'": "'", "\\": "\\", n: "\n", t: "\t", r: "\r" } as Record<string, string>)[next] ??
          `\\${next}`;
        at += 2;
      } else out += text[at++]!;
    }
    if (mark) at += 1;
    return out;
  };
  const directives = (): unknown[] => {
    const out: unknown[] = [];
    let words: unknown[] = [];
    for (;;) {
      while (/\s/.test(text[at] ?? "")) at += 1;
      const c = text[at];
      if (c === undefined || c === "}") {
        at += 1;
        return out;
      }
      if (c === "#" && words.length === 0) at = text.indexOf("\n", at);
      else if (c === ";" || c === "{") {
        at += 1;
        out.push(c === "{" ? [...words, directives()] : words);
        words = [];
      } else words.push(word());
    }
  };
  return directives();
}

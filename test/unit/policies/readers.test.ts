import assert from "node:assert/strict";
import fc from "fast-check";
import { hbaFault, hbaLines } from "../../../policies/facts/hba.ts";
import { isAnybody } from "../../../policies/facts/network.ts";
import { inherited, nginxFile, portsOf, scopesOf, type Directive } from "../../../policies/facts/nginx.ts";
import { isLiteral, namedIn, shapesIn } from "../../../policies/facts/secret-shapes.ts";
import { isSecretName, secretValuesOf } from "../../../policies/facts/secrets.ts";
import { selects } from "../../../policies/facts/selector.ts";
import { Stack } from "../../../policies/facts/stack.ts";

const word = fc.stringMatching(/^[a-z][a-z0-9_/.:-]{0,8}$/).filter((text) => text !== "include");
const { tree } = fc.letrec<{ tree: Directive[] }>((tie) => ({
  tree: fc.array(
    fc.record(
      {
        name: word,
        args: fc.array(fc.oneof(word, fc.stringMatching(/^[a-z ;{}#]{1,8}$/)), { maxLength: 3 }),
        block: fc.oneof({ depthSize: "small" }, fc.constant([]), tie("tree")),
      },
      { noNullPrototype: true },
    ),
    { maxLength: 4 },
  ),
}));

function written(directives: readonly Directive[]): string {
  const quoted = (text: string) => (/^[a-z][a-z0-9_/.:-]*$/.test(text) ? text : `"${text}"`);
  return directives
    .map(({ name, args, block }) => {
      const line = [name, ...args.map(quoted)].join(" ");
      return block.length > 0 ? `${line} { # a comment; with { signs\n${written(block)}}\n` : `${line};\n`;
    })
    .join("");
}

describe("readers of the policy pack", () => {
  it("read NGINX's configuration as it was written", () => {
    fc.assert(
      fc.property(tree, (directives) => assert.deepEqual(nginxFile({ f: written(directives) }, "f"), directives)),
    );
  });

  it("put NGINX's included files in their places, and know what holds where", () => {
    const files = {
      "nginx.conf": "http {\n ssl_protocols TLSv1.2;\n include servers.conf;\n include /elsewhere/*.conf;\n}\n",
      "servers.conf":
        "server {\n listen 127.0.0.1:8081;\n listen [::]:8443 ssl;\n location / { ssl_protocols TLSv1.3; }\n}\n",
    };
    const scopes = [...scopesOf(nginxFile(files, "nginx.conf"))];
    assert.deepEqual(
      scopes.map(({ title }) => title),
      ["http", "server 8081 8443", "server 8081 8443 location /"],
    );
    assert.deepEqual(portsOf(scopes[1]!.directive), [8081, 8443]);
    assert.deepEqual(inherited(scopes[1], "ssl_protocols"), ["TLSv1.2"]);
    assert.deepEqual(inherited(scopes[2], "ssl_protocols"), ["TLSv1.3"]);
    assert.equal(inherited(scopes[2], "proxy_pass"), undefined);
  });

  it("do not judge an NGINX file that is cut off", () => {
    for (const text of ["http {", "http { a b", "a b", "}", "a }"])
      assert.throws(() => nginxFile({ f: text }, "f"), /f: /, text);
  });

  it("hold lines of pg_hba.conf to TLS and proof", () => {
    const fault = (line: string) => hbaLines([line]).map(hbaFault)[0];
    for (const fine of [
      "local all postgres peer",
      "hostssl all all 0.0.0.0/0 scram-sha-256",
      "hostssl all all 10.0.0.0 255.0.0.0 cert clientcert=verify-full",
      'hostssl "a b",c "d" ::/0 scram-sha-256 # with a comment',
      "host all all all reject",
    ])
      assert.equal(fault(fine), undefined, fine);
    for (const bad of [
      "local all all trust",
      "host all all ::1/128 scram-sha-256",
      "hostnossl all all ::1/128 scram-sha-256",
      "hostssl all all ::/0 trust",
      "hostssl all all ::/0 password",
      "hostssl all all 10.0.0.0 255.0.0.0 md5",
      "hostssl all all ::/0",
    ])
      assert.ok(fault(bad), bad);
    assert.deepEqual(hbaLines(["", "# host all all all trust"]), []);
  });

  it("select by labels as the API does", () => {
    const labels = fc.dictionary(fc.constantFrom("a", "b", "c"), fc.constantFrom("x", "y"));
    fc.assert(
      fc.property(labels, labels, (matchLabels, given) => {
        const all = Object.entries(matchLabels).every(([key, value]) => given[key] === value);
        assert.equal(selects({ matchLabels }, given), all);
        const expressions = Object.entries(matchLabels).map(([key, value]) => ({
          key,
          operator: "In",
          values: [value],
        }));
        assert.equal(selects({ matchExpressions: expressions }, given), all);
        for (const key of ["a", "b", "c"]) {
          assert.equal(selects({ matchExpressions: [{ key, operator: "Exists" }] }, given), key in given);
          assert.equal(selects({ matchExpressions: [{ key, operator: "DoesNotExist" }] }, given), !(key in given));
          const not = { key, operator: "NotIn", values: ["x"] };
          assert.equal(selects({ matchExpressions: [not] }, given), given[key] !== "x");
        }
      }),
    );
    assert.equal(selects({}, {}), true);
    assert.equal(selects(undefined, {}), false);
    assert.throws(() => selects({ matchExpressions: [{ key: "a", operator: "Like" }] }, {}), /does not exist/);
  });

  it("know who is anybody", () => {
    for (const peer of [
      { ipBlock: { cidr: "0.0.0.0/0" } },
      { ipBlock: { cidr: "::/0" } },
      { podSelector: {} },
      { namespaceSelector: {} },
    ])
      assert.equal(isAnybody(peer), true, JSON.stringify(peer));
    const named = { matchLabels: { a: "x" } };
    for (const peer of [
      { ipBlock: { cidr: "10.0.0.0/8" } },
      { podSelector: named },
      { namespaceSelector: named, podSelector: {} },
    ])
      assert.equal(isAnybody(peer), false, JSON.stringify(peer));
  });

  it("know secrets by name, and not what only sounds like one", () => {
    for (const name of [
      "password",
      "DB_PASSWORD",
      "PGPASSWORD",
      "REDISCLI_AUTH",
      "redisPassword",
      "auth-token",
      "apiKey",
      "API_KEY",
      "clientSecret",
      "credentials",
    ])
      assert.equal(isSecretName(name), true, name);
    for (const name of [
      "passwordFile",
      "PASSWORD_FILE",
      "password_encryption",
      "SECRETS_DIR",
      "tokenizer",
      "secretName",
      "bypassword",
    ])
      assert.equal(isSecretName(name), false, name);
    for (const value of ["/etc/x", "$(NAME)", "${NAME}", "true", "30", "", "none"])
      assert.equal(isLiteral(value), false, value);
  });

  it("know a URL with a password from one without", () => {
    for (const url of ["postgres://a:b@h/d", "redis://:pw@h", "https://user:pass@example.com"])
      assert.deepEqual(shapesIn(url), ["a URL with a password"], url);
    for (const url of ["https://h:8443/a@b", "postgres://a@h/d", "postgres://a:$PASSWORD@h", "http://[::1]:80/"])
      assert.deepEqual(shapesIn(url), [], url);
  });

  it("leave comments and programs to their shape", () => {
    assert.deepEqual(namedIn("redis.conf", "# requirepass x\nport 0\n"), { settings: [], directives: [] });
    assert.deepEqual(namedIn("start.py", 'password = read("/etc/x")\n'), { settings: [], directives: [] });
  });

  it("find every value that a Secret keeps, in files too, and no certificate", () => {
    const secret = (props: object) =>
      new Stack([
        {
          type: "kubernetes:core/v1:Secret",
          name: "s",
          urn: "u",
          props: { metadata: { name: "s" }, ...props },
          opts: { protect: false, ignoreChanges: [] },
        },
      ]);
    const values = (props: object) => secretValuesOf(secret(props)).map(({ value }) => value);
    assert.deepEqual(values({ stringData: { a: "long-enough", b: "short" } }), ["long-enough"]);
    assert.deepEqual(values({ data: { a: Buffer.from("long-enough").toString("base64") } }), ["long-enough"]);
    assert.deepEqual(values({ stringData: { f: '{"user":{"name":"replicator","password":"long-enough"}}' } }), [
      "long-enough",
    ]);
    assert.deepEqual(values({ stringData: { f: '"iam_app" "long-enough"\n"stats" "long-enough-too"\n' } }), [
      "long-enough",
      "long-enough-too",
    ]);
    assert.deepEqual(
      values({ stringData: { "ca.crt": "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n" } }),
      [],
    );
  });
});

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parse } from "yaml";
import { z } from "zod";
import { ROOT } from "../../../scripts/paths.ts";
import { overlaysForShow } from "../../../scripts/local/values/show.ts";
import { readStackConfig } from "../../../scripts/render/stack-config.ts";
import { ConfigError, parseConfig, stackKeys } from "../../../stacks/config.ts";
import { SHARED_CREDENTIALS } from "../../../components/common/credentials.ts";
import { DEFAULT_LINKS } from "../../../sidecar/core/link.ts";
import { DEFAULT_REGIONS, peersOf } from "../../../stacks/topology.ts";

interface Typed {
  type?: string;
}
interface Declared {
  type?: string;
  description?: string;
  default?: unknown;
  secret?: boolean;
}

const project = parse(readFileSync(join(ROOT, "Pulumi.yaml"), "utf8")) as { config: Record<string, Declared> };
const declared = Object.fromEntries(Object.entries(project.config).filter(([key]) => key.startsWith("iam-ha:")));

/** Config of one stack as its files give it, decoded. */
function rawConfig(stack: string): Record<string, unknown> {
  const { config } = readStackConfig(stack, overlaysForShow(stack, { embedded: false }));
  return Object.fromEntries(
    Object.entries(config).map(([key, text]) => {
      const type = declared[key]?.type;
      return [key.replace("iam-ha:", ""), type === "string" ? text : (JSON.parse(text) as unknown)];
    }),
  );
}

function problemsOf(raw: Record<string, unknown>): readonly string[] {
  try {
    parseConfig(raw);
  } catch (error) {
    assert.ok(error instanceof ConfigError, String(error));
    return error.problems;
  }
  return [];
}

describe("Pulumi.yaml and the schema", () => {
  it("declare the same keys in the same order", () => {
    assert.deepEqual(
      Object.keys(declared),
      Object.keys(stackKeys).map((key) => `iam-ha:${key}`),
    );
  });

  for (const [key, schema] of Object.entries(stackKeys)) {
    it(`agree on ${key}: type, description, default`, () => {
      const entry = declared[`iam-ha:${key}`];
      assert.ok(entry);
      const json = z.toJSONSchema(schema as z.ZodType, { io: "input", unrepresentable: "any" });
      // Of several shapes, each is of the same type.
      const types = new Set([json, ...(json.oneOf ?? json.anyOf ?? [])].flatMap((one) => (one as Typed).type ?? []));
      assert.deepEqual([...types], [entry.type]);
      assert.ok(
        json.description?.startsWith(entry.description ?? "?"),
        `${key}: "${entry.description}" against "${json.description}"`,
      );
      // The engine refuses a typed secret with a plain default: SECRET_KEYS alone say what is secret.
      assert.equal(entry.secret, undefined);
      if (entry.default === undefined)
        assert.ok(!(schema as z.ZodType).safeParse(undefined).success, `${key} has a default in the schema alone`);
      // A default of Pulumi.yaml means the same as none at all.
      else assert.deepEqual((schema as z.ZodType).parse(entry.default), (schema as z.ZodType).parse(undefined));
    });
  }

  it("disable default providers", () => {
    assert.deepEqual((project.config["pulumi:disable-default-providers"] as { value: unknown }).value, ["*"]);
  });
});

describe("the stacks' files", () => {
  for (const region of Object.keys(DEFAULT_REGIONS)) {
    it(`Pulumi.${region}.yaml is valid and is the stack of ${region}`, () => {
      assert.equal(parseConfig(rawConfig(region)).region, region);
    });
  }

  it("make regions that differ in nothing but their own place", () => {
    const [first, ...others] = Object.keys(DEFAULT_REGIONS).map((region) => {
      const { region: _region, cluster, ...rest } = parseConfig(rawConfig(region));
      return { ...rest, cluster: { ...cluster, context: "" } };
    });
    for (const other of others) assert.deepEqual(other, first);
  });
});

describe("bad config", () => {
  const good = () => rawConfig("beijing");

  it("is told with its path, what was found and what is allowed, all of it at once", () => {
    const problems = problemsOf({
      ...good(),
      region: "tokyo",
      domain: "not a name",
      postgres: { patroni: { ttlSeconds: 5 } },
      redis: { nodeTimeoutMillis: "fast" },
    });
    const text = problems.join("\n");
    assert.match(text, /iam-ha:domain: found "not a name"; must be a DNS name/);
    assert.match(text, /iam-ha:region: found "tokyo"; must be one of beijing, shanghai, shenzhen/);
    assert.match(text, /iam-ha:postgres\.patroni\.ttlSeconds: found 5; /);
    assert.match(text, /iam-ha:redis\.nodeTimeoutMillis: found "fast"; expected /);
  });

  it("names a region that the topology does not have", () => {
    assert.deepEqual(problemsOf({ ...good(), region: "tokyo" }), [
      'iam-ha:region: found "tokyo"; must be one of beijing, shanghai, shenzhen',
    ]);
  });

  it("names unknown keys, at the top and below", () => {
    const text = problemsOf({ ...good(), postgress: {}, cluster: { contxt: "x" } }).join("\n");
    assert.match(text, /iam-ha:postgress: unknown key/);
    assert.match(text, /iam-ha:cluster\.contxt: unknown key/);
  });

  it("never shows a secret that is wrong", () => {
    const text = problemsOf({ ...good(), secrets: { redis: "short!secret" } }).join("\n");
    assert.match(text, /iam-ha:secrets\.redis: found a value that is not shown; must be/);
    assert.doesNotMatch(text, /short!secret/);
  });

  it("wants a cluster that is named", () => {
    assert.match(problemsOf({ ...good(), cluster: {} }).join("\n"), /iam-ha:cluster\.context: is needed/);
  });

  it("wants exactly one active region", () => {
    const regions = { ...DEFAULT_REGIONS, shanghai: { ...DEFAULT_REGIONS["shanghai"]!, role: "active" } };
    assert.match(
      problemsOf({ ...good(), regions }).join("\n"),
      /iam-ha:regions: .*exactly one region must have the role active, found 2/,
    );
  });

  it("wants every password that regions share, in words and without showing any, and none for one region", () => {
    const { secrets, ...rest } = good() as { secrets: Record<string, string> };
    const { postgresApp: _app, witnessRoot: _root, ...others } = secrets;
    assert.deepEqual(problemsOf({ ...rest, secrets: others }), [
      "iam-ha:secrets.postgresApp: is needed, as all 3 regions share it: `pulumi config set --secret --path 'iam-ha:secrets.postgresApp'`, the same in every stack",
      "iam-ha:secrets.witnessRoot: is needed, as all 3 regions share it: `pulumi config set --secret --path 'iam-ha:secrets.witnessRoot'`, the same in every stack",
    ]);
    assert.equal(problemsOf(rest).length, SHARED_CREDENTIALS.length);
    const alone = { beijing: DEFAULT_REGIONS["beijing"]! };
    assert.deepEqual(problemsOf({ ...rest, regions: alone, links: [] }), []);
  });

  it("wants names that lead to one place each", () => {
    const names = {
      serverNames: ["login.example.com", "api-shanghai.iam.example.com", "region-beijing.iam.example.com"],
    };
    assert.deepEqual(problemsOf({ ...good(), edge: names }), [
      'iam-ha:edge.serverNames.1: found "api-shanghai.iam.example.com"; that name is the endpoint api of shanghai, which one address alone can answer to: leave it out',
      'iam-ha:edge.serverNames.2: found "region-beijing.iam.example.com"; that name is the endpoint region of beijing, which one address alone can answer to: leave it out',
    ]);
    const own = { serverNames: ["api.iam.example.com", "api-beijing.iam.example.com"] };
    assert.deepEqual(problemsOf({ ...good(), edge: own }), []);
    assert.match(
      problemsOf({ ...good(), domain: "iam.cluster.local" }).join("\n"),
      /iam-ha:domain: found "iam\.cluster\.local"; must not be in cluster\.domain, cluster\.local/,
    );
  });

  it("wants names that DNS and certificates have room for", () => {
    const long = "a".repeat(53);
    const regions = { ...DEFAULT_REGIONS, [long]: { code: "cn-west-1", role: "disaster", priority: 4 } };
    const link = { ...DEFAULT_LINKS[0]!, to: long };
    const text = problemsOf({ ...good(), regions, links: [...DEFAULT_LINKS, link] }).join("\n");
    assert.match(
      text,
      new RegExp(`iam-ha:regions\\.${long}: its endpoint postgresql-${long} is longer than a DNS label`),
    );
    const domain = `${"b".repeat(50)}.example.com`;
    assert.match(
      problemsOf({ ...good(), domain }).join("\n"),
      /iam-ha:regions\.beijing: .* certificate's common name 64 at most/,
    );
  });

  it("wants links between regions that there are, and a source for each", () => {
    const [first, ...others] = DEFAULT_LINKS;
    const text = problemsOf({ ...good(), links: [{ ...first, to: "tokyo" }, ...others] }).join("\n");
    assert.match(text, /iam-ha:links\.0\.to: found "tokyo"; must be one of beijing, shanghai, shenzhen/);
    assert.match(text, /iam-ha:links: shanghai has no source: add a link from beijing to shanghai/);
  });

  it("wants pools that fit the server's connections", () => {
    const text = problemsOf({ ...good(), pooler: { replicas: 3, write: { max: 60 }, read: { max: 60 } } }).join("\n");
    assert.match(text, /iam-ha:pooler: .*may open \d+ connections/);
  });

  it("wants the PEMs of inline certificates", () => {
    const text = problemsOf({ ...good(), certificates: { edge: { source: "inline" } } }).join("\n");
    assert.match(text, /iam-ha:certificatePems\.edge: is needed/);
  });
});

describe("the topology", () => {
  it("lists a region's peers by who takes over first", () => {
    assert.deepEqual(peersOf(DEFAULT_REGIONS, "beijing"), ["shanghai", "shenzhen"]);
    assert.deepEqual(peersOf(DEFAULT_REGIONS, "shanghai"), ["beijing", "shenzhen"]);
  });
});

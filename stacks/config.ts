import { z } from "zod";
import { apiSettings } from "../components/api/settings.ts";
import { CERTIFICATE_NAMES, certificatePems, certificateSettings } from "../components/common/certificates.ts";
import { credentialSecrets, SHARED_CREDENTIALS } from "../components/common/credentials.ts";
import { imageSettings } from "../components/common/images.ts";
import { dnsLabel, dnsName } from "../components/common/schema.ts";
import { wanSettings } from "../components/common/wan.ts";
import { edgeSettings } from "../components/edge/settings.ts";
import { poolerSettings, serverConnections } from "../components/pooler/settings.ts";
import { postgresSettings, usableConnections } from "../components/postgres/settings.ts";
import { globalDnsSettings } from "../components/global-dns/settings.ts";
import { regionControllerSettings } from "../components/region-controller/settings.ts";
import { witnessSettings } from "../components/witness/settings.ts";
import { redisSettings } from "../components/redis/settings.ts";
import { addressProblems, DEFAULT_REGIONS, linkProblems, links, serverNameProblems, topology } from "./topology.ts";

/** The Kubernetes cluster of the region. */
export const clusterSettings = z
  .strictObject({
    context: z
      .string()
      .min(1)
      .optional()
      .describe(
        "kubeconfig context of the region's cluster; may be left out only where `kubeconfig` is given: then its current one",
      ),
    kubeconfig: z
      .string()
      .min(1)
      .optional()
      .describe("path of the kubeconfig; default: KUBECONFIG, then ~/.kube/config"),
    domain: dnsName.default("cluster.local").describe("DNS domain of the cluster"),
    namespace: dnsLabel.default("iam").describe("namespace that holds everything"),
    storageClass: z
      .string()
      .min(1)
      .optional()
      .describe("storage class of every volume; default: the cluster's default class"),
    multiNode: z
      .boolean()
      .default(true)
      .describe("whether the cluster has several nodes: spreading over them is then demanded"),
  })
  .describe("the Kubernetes cluster of the region");

/** Every key of the stack's config, in the order in which Pulumi.yaml declares them. Strict: a mistyped key is an error,
 *  never a silent default. */
export const stackKeys = {
  region: dnsLabel.describe("region that this stack is; one of the keys of `regions`"),
  regions: topology.default(DEFAULT_REGIONS),
  links,
  domain: dnsName.default("iam.example.com").describe("public domain of the platform"),
  protect: z
    .boolean()
    .default(true)
    .describe("protect objects that hold data from deletion, and keep them when the stack goes"),
  cluster: clusterSettings.prefault({}),
  wan: wanSettings.prefault({}),
  images: imageSettings.prefault({}),
  certificates: certificateSettings.prefault({}),
  edge: edgeSettings.prefault({}),
  api: apiSettings.prefault({}),
  postgres: postgresSettings.prefault({}),
  pooler: poolerSettings.prefault({}),
  redis: redisSettings.prefault({}),
  witness: witnessSettings.prefault({}),
  regionController: regionControllerSettings.prefault({}),
  globalDns: globalDnsSettings.prefault({ provider: "coredns" }),
  secrets: credentialSecrets
    .default({})
    .describe(
      `passwords; those not given are made at random, except the ones that all regions share, which must be given and be the same in every stack where there are several: ${SHARED_CREDENTIALS.join(", ")}`,
    ),
  certificatePems: certificatePems
    .default({})
    .describe("PEM texts of the certificates whose source is `inline`: certificate, key, ca"),
} as const;

/** Keys whose values are secret: encrypted in Pulumi.<stack>.yaml, never echoed. */
export const SECRET_KEYS = ["secrets", "certificatePems"] as const satisfies (keyof typeof stackKeys)[];

export type StackConfig = { [Key in keyof typeof stackKeys]: z.output<(typeof stackKeys)[Key]> };

/** A rule between keys; it is asked when every key that it looks at is valid by itself. */
interface CrossRule<Key extends keyof StackConfig> {
  readonly keys: readonly Key[];
  readonly problems: (config: Pick<StackConfig, Key>) => string[];
}
const rule = <Key extends keyof StackConfig>(
  keys: readonly Key[],
  problems: CrossRule<Key>["problems"],
): CrossRule<keyof StackConfig> => ({ keys, problems });

const CROSS_RULES = [
  rule(["region", "regions"], ({ region, regions }) =>
    region in regions
      ? []
      : [`iam-ha:region: found ${show(region)}; must be one of ${Object.keys(regions).join(", ")}`],
  ),
  rule(["regions", "links"], ({ regions, links }) =>
    linkProblems(regions, links).map((problem) => `iam-ha:${problem}`),
  ),
  rule(["regions", "domain", "cluster"], ({ regions, domain, cluster }) =>
    addressProblems(regions, domain, cluster.domain).map((problem) => `iam-ha:${problem}`),
  ),
  rule(["region", "regions", "domain", "edge"], ({ region, regions, domain, edge }) =>
    serverNameProblems(regions, region, domain, edge.serverNames).map((problem) => `iam-ha:edge.${problem}`),
  ),
  // A standby region has the roles of its source, whatever its own stack says; a session, or a token, is good everywhere.
  rule(["regions", "secrets"], ({ regions, secrets }) =>
    Object.keys(regions).length < 2
      ? []
      : SHARED_CREDENTIALS.filter((name) => secrets[name] === undefined).map(
          (name) =>
            `iam-ha:secrets.${name}: is needed, as all ${Object.keys(regions).length} regions share it: \`pulumi config set --secret --path 'iam-ha:secrets.${name}'\`, the same in every stack`,
        ),
  ),
  rule(["cluster"], ({ cluster }) =>
    // Whatever cluster a shell happens to point at must not become a region.
    cluster.context !== undefined || cluster.kubeconfig !== undefined
      ? []
      : [
          "iam-ha:cluster.context: is needed: name the kubeconfig context of the region's cluster, or give cluster.kubeconfig",
        ],
  ),
  rule(["pooler", "postgres"], ({ pooler, postgres }) => {
    const needed = serverConnections(pooler);
    const usable = usableConnections(postgres);
    if (needed <= usable) return [];
    return [
      `iam-ha:pooler: all pools together may open ${needed} connections to one server; iam-ha:postgres.parameters.max_connections leaves ${usable} for them`,
    ];
  }),
  rule(["certificates", "certificatePems"], ({ certificates, certificatePems }) =>
    CERTIFICATE_NAMES.filter((name) => !certificatePems[name])
      .map((name) => ({ name, part: name === "edge" ? ("edge" as const) : ("internal" as const) }))
      .filter(({ part }) => certificates[part].source === "inline")
      .map(
        ({ name, part }) =>
          `iam-ha:certificatePems.${name}: is needed, as iam-ha:certificates.${part}.source is inline`,
      ),
  ),
];

/** Bad config: one line per problem, each with the path, what was found and what is allowed. */
export class ConfigError extends Error {
  readonly problems: readonly string[];
  constructor(problems: readonly string[]) {
    super(`invalid configuration, nothing was applied:\n${problems.map((p) => `  - ${p}`).join("\n")}`);
    this.name = "ConfigError";
    this.problems = problems;
  }
}

/** Validates the stack's raw config (decoded values by key, without the project's prefix).
 *  @throws ConfigError with all problems at once */
export function parseConfig(raw: Record<string, unknown>): StackConfig {
  const valid: Partial<Record<keyof StackConfig, unknown>> = {};
  const problems = Object.keys(raw)
    .filter((key) => !(key in stackKeys))
    .map((key) => `iam-ha:${key}: unknown key`);
  for (const [key, schema] of Object.entries(stackKeys) as [keyof StackConfig, z.ZodType][]) {
    const result = schema.safeParse(raw[key], { reportInput: true });
    if (result.success) valid[key] = result.data;
    else problems.push(...result.error.issues.flatMap((issue) => describeIssue(key, issue)));
  }
  for (const { keys, problems: broken } of CROSS_RULES) {
    if (keys.every((key) => key in valid)) problems.push(...broken(valid as StackConfig));
  }
  if (problems.length > 0) throw new ConfigError(problems);
  return valid as StackConfig;
}

function describeIssue(key: keyof StackConfig, issue: z.core.$ZodIssue): string[] {
  const path = [key, ...issue.path];
  if (issue.code === "unrecognized_keys")
    return issue.keys.map((unknown) => `${pathOf([...path, unknown])}: unknown key`);
  return [`${pathOf(path)}: ${found(key, issue)}${issue.message.replace(/^Invalid input: /, "")}`];
}

/** What was found, where it is one value: an object is told by its path. */
function found(key: keyof StackConfig, { input }: z.core.$ZodIssue): string {
  if (input === undefined || (typeof input === "object" && input !== null && !Array.isArray(input))) return "";
  return (SECRET_KEYS as readonly string[]).includes(key)
    ? "found a value that is not shown; "
    : `found ${show(input)}; `;
}

function pathOf(path: readonly PropertyKey[]): string {
  return `iam-ha:${path.map(String).join(".")}`;
}

function show(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 80 ? `${text.slice(0, 77)}...` : text;
}

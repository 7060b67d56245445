import { z } from "zod";
import { apiSettings } from "../components/api/settings.ts";
import { certificatePems, certificateSettings } from "../components/common/certificates.ts";
import { credentialSecrets } from "../components/common/credentials.ts";
import { imageSettings } from "../components/common/images.ts";
import { dnsLabel, dnsName } from "../components/common/schema.ts";
import { edgeSettings } from "../components/edge/settings.ts";
import { poolerSettings, serverConnections } from "../components/pooler/settings.ts";
import { postgresSettings, usableConnections } from "../components/postgres/settings.ts";
import { redisSettings } from "../components/redis/settings.ts";
import { DEFAULT_REGIONS, topology } from "./topology.ts";

/** The Kubernetes cluster of the region. */
export const clusterSettings = z
  .strictObject({
    context: z.string().min(1).optional().describe("kubeconfig context of the region's cluster; default: the kubeconfig's current one"),
    kubeconfig: z.string().min(1).optional().describe("path of the kubeconfig; default: KUBECONFIG, then ~/.kube/config"),
    domain: dnsName.default("cluster.local").describe("DNS domain of the cluster"),
    namespace: dnsLabel.default("iam").describe("namespace that holds everything"),
    storageClass: z.string().min(1).optional().describe("storage class of every volume; default: the cluster's default class"),
    multiNode: z.boolean().default(true).describe("whether the cluster has several nodes: spreading over them is then demanded"),
  })
  .describe("the Kubernetes cluster of the region");

/** Every key of the stack's config, in the order in which Pulumi.yaml declares them. Strict: a mistyped key is an error,
 *  never a silent default. */
export const stackKeys = {
  region: dnsLabel.describe("region that this stack is; one of the keys of `regions`"),
  regions: topology.default(DEFAULT_REGIONS),
  domain: dnsName.default("iam.example.com").describe("public domain of the platform"),
  protect: z.boolean().default(true).describe("protect objects that hold data from deletion, and keep them when the stack goes"),
  cluster: clusterSettings.prefault({}),
  images: imageSettings.prefault({}),
  certificates: certificateSettings.prefault({}),
  edge: edgeSettings.prefault({}),
  api: apiSettings.prefault({}),
  postgres: postgresSettings.prefault({}),
  pooler: poolerSettings.prefault({}),
  redis: redisSettings.prefault({}),
  secrets: credentialSecrets.default({}).describe("passwords; those not given are made at random. Regions share them: give all of them where there are several"),
  certificatePems: certificatePems.default({}).describe("PEM texts of the certificates whose source is `inline`: certificate, key, ca"),
} as const;

/** Keys whose values are secret: encrypted in Pulumi.<stack>.yaml, never echoed. */
export const SECRET_KEYS = ["secrets", "certificatePems"] as const satisfies (keyof typeof stackKeys)[];

export const stackSchema = z.strictObject(stackKeys).superRefine((config, ctx) => {
  if (!(config.region in config.regions)) {
    ctx.addIssue({ code: "custom", path: ["region"], message: `must be one of ${Object.keys(config.regions).join(", ")}`, input: config.region });
  }
  const needed = serverConnections(config.pooler);
  const usable = usableConnections(config.postgres);
  if (needed > usable) {
    ctx.addIssue({
      code: "custom",
      path: ["pooler"],
      message: `all pools together may open ${needed} connections to one server, but postgres.parameters.max_connections leaves ${usable} for them`,
    });
  }
  for (const part of ["edge", "internal"] as const) {
    if (config.certificates[part].source !== "inline") continue;
    const names = part === "edge" ? (["edge"] as const) : (["edge-client", "api", "postgres", "pooler", "redis"] as const);
    for (const name of names) {
      if (!config.certificatePems[name]) ctx.addIssue({ code: "custom", path: ["certificatePems", name], message: `is needed, as certificates.${part}.source is inline` });
    }
  }
});
export type StackConfig = z.infer<typeof stackSchema>;

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
  const result = stackSchema.safeParse(raw, { reportInput: true });
  if (result.success) return result.data;
  throw new ConfigError(result.error.issues.flatMap((issue) => describeIssue(issue)));
}

function describeIssue(issue: z.core.$ZodIssue): string[] {
  if (issue.code === "unrecognized_keys") {
    return issue.keys.map((key) => `${pathOf([...issue.path, key])}: unknown key`);
  }
  const secret = (SECRET_KEYS as readonly PropertyKey[]).includes(issue.path[0] ?? "");
  const found = secret || issue.input === undefined ? (issue.input === undefined ? "" : "found a value that is not shown; ") : `found ${show(issue.input)}; `;
  return [`${pathOf(issue.path)}: ${found}${issue.message.replace(/^Invalid input: /, "")}`];
}

function pathOf(path: readonly PropertyKey[]): string {
  return `iam-ha:${path.map(String).join(".")}`;
}

function show(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 80 ? `${text.slice(0, 77)}...` : text;
}

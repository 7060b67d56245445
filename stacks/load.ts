import * as pulumi from "@pulumi/pulumi";
import type { z } from "zod";
import type { CertificatePems } from "../components/common/certificates.ts";
import type { CredentialSecrets } from "../components/common/credentials.ts";
import { ConfigError, parseConfig, stackKeys, type StackConfig } from "./config.ts";

const PROJECT = "iam-ha";

/** The stack's config: plain data, and beside it the secret values, which only ever exist as secret outputs. */
export interface LoadedConfig {
  readonly config: Omit<StackConfig, "secrets" | "certificatePems">;
  readonly secrets: pulumi.Output<CredentialSecrets>;
  readonly secretNames: readonly (keyof CredentialSecrets)[];
  readonly certificatePems: pulumi.Output<CertificatePems>;
}

/** Reads and validates the config of the running stack. The only place that reads `pulumi.Config`.
 *  @throws pulumi.RunError with every problem in it, before any resource is registered */
export function loadConfig(): LoadedConfig {
  try {
    const { secrets, certificatePems, ...config } = parseConfig(decode(pulumi.runtime.allConfig()));
    const source = new pulumi.Config(PROJECT);
    return {
      config,
      secrets: source.getSecretObject<CredentialSecrets>("secrets") ?? pulumi.secret({}),
      secretNames: Object.keys(secrets) as (keyof CredentialSecrets)[],
      certificatePems: source.getSecretObject<CertificatePems>("certificatePems") ?? pulumi.secret(certificatePems),
    };
  } catch (error) {
    if (error instanceof ConfigError) throw new pulumi.RunError(error.message);
    throw error;
  }
}

/** The engine hands every value over as text: JSON for all but strings. */
function decode(all: Record<string, string>): Record<string, unknown> {
  const raw: Record<string, unknown> = {};
  for (const [fullKey, text] of Object.entries(all)) {
    if (!fullKey.startsWith(`${PROJECT}:`)) continue;
    const key = fullKey.slice(PROJECT.length + 1);
    const schema: z.ZodType | undefined = stackKeys[key as keyof typeof stackKeys];
    raw[key] = schema && !schema.safeParse(text).success ? decodeJson(text) : text;
  }
  return raw;
}

function decodeJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // Left as text: the schema says what was expected in its place.
    return text;
  }
}

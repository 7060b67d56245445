import { CERTIFICATE_NAMES } from "../../../components/common/certificates.ts";
import { SHARED_CREDENTIALS, type CredentialName } from "../../../components/common/credentials.ts";
import type { ConfigTree } from "../../render/stack-config.ts";
import { committedOverlay, regionRole } from "./overlay.ts";

const PLACEHOLDER = {
  certificate: "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n",
  key: "-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n",
  ca: "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n",
};

export interface ShowOptions {
  /** Whether the embedded overlay is laid over the stack's file. */
  readonly embedded: boolean;
  /** What stands for each shared password; default: text that says that it is none. */
  readonly secret?: (name: CredentialName) => string;
}

/** What is laid over a stack's file to show and check what it renders: placeholders for passwords, and with the embedded
 *  overlay for what else only a machine knows. Never for what is applied. */
export function overlaysForShow(region: string, { embedded, secret = placeholder }: ShowOptions): ConfigTree[] {
  const secrets = { secrets: Object.fromEntries(SHARED_CREDENTIALS.map((name) => [name, secret(name)])) };
  if (!embedded) return [secrets];
  return [
    committedOverlay(regionRole(region)),
    {
      cluster: { domain: `cluster.${region}` },
      certificatePems: Object.fromEntries(CERTIFICATE_NAMES.map((name) => [name, PLACEHOLDER])),
    },
    secrets,
  ];
}

function placeholder(name: CredentialName): string {
  return `placeholder-for-${name}`;
}

import * as pulumi from "@pulumi/pulumi";
import * as random from "@pulumi/random";
import { z } from "zod";

/** Every password of a region. Those that regions share (a standby cluster has the roles of its source) must be given
 *  as secret config when there is more than one region; what is not given is made at random and kept in the state. */
export const CREDENTIAL_NAMES = [
  "postgresSuperuser",
  "postgresReplication",
  "postgresRewind",
  "postgresApp",
  "patroniRestApi",
  "poolerStats",
  "redis",
  "apiAdmin",
  "postgresMonitor",
  "witnessRoot",
  "witnessController",
  "witnessDns",
] as const;
export type CredentialName = (typeof CREDENTIAL_NAMES)[number];

/** Passwords that all regions share: a standby cluster has the roles of its source, a session or a token must be good
 *  in every region, and the witness is one cluster over all of them. The others are each region's own. */
export const SHARED_CREDENTIALS = [
  "postgresSuperuser",
  "postgresReplication",
  "postgresRewind",
  "postgresApp",
  "postgresMonitor",
  "apiAdmin",
  "witnessRoot",
  "witnessController",
  "witnessDns",
] as const satisfies readonly CredentialName[];

/** Letters, digits, '-' and '_' only: passwords go into connection strings and configuration files of five engines,
 *  each with an escaping of its own. 16 characters of these are 95 bits. */
const password = z.string().regex(/^[A-Za-z0-9_-]{16,128}$/, "must be 16 to 128 letters, digits, '-' or '_'");

export const credentialSecrets = z.partialRecord(z.enum(CREDENTIAL_NAMES), password);
export type CredentialSecrets = z.infer<typeof credentialSecrets>;

export interface CredentialsArgs {
  /** Passwords given by config; secret. */
  given: pulumi.Output<CredentialSecrets>;
  /** Which of them are given: known at once, so that no resource depends on a secret's content. */
  givenNames: readonly CredentialName[];
}

/** The passwords of a region: given ones as they are, the others made at random once. */
export class Credentials extends pulumi.ComponentResource {
  /** Each password, marked secret. */
  readonly passwords: Record<CredentialName, pulumi.Output<string>>;

  constructor(name: string, args: CredentialsArgs, opts?: pulumi.ComponentResourceOptions) {
    super("iam-ha:common:Credentials", name, {}, opts);
    const entries = CREDENTIAL_NAMES.map((key) => {
      if (args.givenNames.includes(key)) return [key, pulumi.secret(args.given.apply((all) => all[key]!))] as const;
      const made = new random.RandomPassword(`${name}-${key}`, { length: 32, special: false }, { parent: this });
      // The provider marks the result secret; said here again, so that it is secret whatever runs the program.
      return [key, pulumi.secret(made.result)] as const;
    });
    this.passwords = Object.fromEntries(entries) as Record<CredentialName, pulumi.Output<string>>;
    this.registerOutputs({ passwords: this.passwords });
  }
}

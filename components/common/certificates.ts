import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import { z } from "zod";
import { metadata, type RegionContext } from "./context.ts";
import { dnsLabel } from "./schema.ts";

/** Who needs a certificate. `edge` is the public one; all others are internal: `edge-client` is what the edge
 *  shows to the API, to other regions' edges and to the region controller. */
export const CERTIFICATE_NAMES = [
  "edge",
  "edge-client",
  "api",
  "postgres",
  "pooler",
  "redis",
  "witness",
  "region",
  "dns",
] as const;
export type CertificateName = (typeof CERTIFICATE_NAMES)[number];

const fromSecret = z.strictObject({
  source: z
    .literal("secret")
    .describe("existing Secrets in the namespace, named `<part>-tls`, with tls.crt, tls.key and ca.crt"),
});
const fromCertManager = z.strictObject({
  source: z.literal("cert-manager").describe("Certificates that cert-manager issues and renews"),
  issuerName: dnsLabel.describe("name of the issuer"),
  issuerKind: z.enum(["Issuer", "ClusterIssuer"]).default("ClusterIssuer").describe("kind of the issuer"),
  durationHours: z.int().min(1).default(2160).describe("validity in hours; 2160 is cert-manager's default of 90 days"),
  renewBeforeHours: z.int().min(1).default(720).describe("renewed this many hours before the end"),
});
const inline = z.strictObject({
  source: z.literal("inline").describe("PEM texts in the secret config key `iam-ha:certificatePems`"),
});
const source = z.discriminatedUnion("source", [fromSecret, fromCertManager, inline]);

export const certificateSettings = z
  .strictObject({
    edge: source.prefault({ source: "secret" }).describe("where the public certificate of the edge comes from"),
    internal: source
      .prefault({ source: "secret" })
      .describe("where the certificates between the parts come from; one CA for all regions"),
  })
  .describe("where TLS certificates come from");
export type CertificateSettings = z.infer<typeof certificateSettings>;

const pem = (what: string) => z.string().regex(new RegExp(`^-----BEGIN [A-Z ]*${what}-----`), `must be a PEM ${what}`);
export const certificatePem = z.strictObject({
  certificate: pem("CERTIFICATE"),
  key: pem("PRIVATE KEY"),
  ca: pem("CERTIFICATE"),
});
export const certificatePems = z.partialRecord(z.enum(CERTIFICATE_NAMES), certificatePem);
export type CertificatePems = z.infer<typeof certificatePems>;

export interface CertificatesArgs {
  /** The region's context. */
  context: RegionContext;
  /** Where the certificates come from. */
  settings: CertificateSettings;
  /** PEM texts for those with source `inline`; secret. */
  pems: pulumi.Output<CertificatePems>;
  /** DNS names that each certificate must be good for; the first is its common name. */
  dnsNames: Record<CertificateName, string[]>;
}

/** TLS Secrets of the region's parts, each with `tls.crt`, `tls.key` and `ca.crt` (the CA that signed it), whatever
 *  their source. */
export class Certificates extends pulumi.ComponentResource {
  /** Name of each part's Secret. */
  readonly secretNames: Record<CertificateName, pulumi.Output<string>>;

  constructor(name: string, args: CertificatesArgs, opts?: pulumi.ComponentResourceOptions) {
    super("iam-ha:common:Certificates", name, {}, opts);
    const entries = CERTIFICATE_NAMES.map((part) => [part, this.one(name, part, args)] as const);
    this.secretNames = Object.fromEntries(entries) as Record<CertificateName, pulumi.Output<string>>;
    this.registerOutputs({ secretNames: this.secretNames });
  }

  private one(name: string, part: CertificateName, args: CertificatesArgs): pulumi.Output<string> {
    const settings = part === "edge" ? args.settings.edge : args.settings.internal;
    const secretName = `${part}-tls`;
    const meta = metadata(args.context, part, secretName);
    switch (settings.source) {
      case "secret":
        return pulumi.output(secretName);
      case "inline": {
        const pems = args.pems.apply((all) => all[part]!);
        const secret = new k8s.core.v1.Secret(
          `${name}-${part}`,
          {
            metadata: meta,
            type: "kubernetes.io/tls",
            stringData: { "tls.crt": pems.certificate, "tls.key": pems.key, "ca.crt": pems.ca },
          },
          { parent: this },
        );
        return secret.metadata.name;
      }
      case "cert-manager": {
        const dnsNames = args.dnsNames[part];
        const certificate = new k8s.apiextensions.CustomResource(
          `${name}-${part}`,
          {
            apiVersion: "cert-manager.io/v1",
            kind: "Certificate",
            metadata: meta,
            spec: {
              secretName,
              commonName: dnsNames[0],
              dnsNames,
              duration: `${settings.durationHours}h0m0s`,
              renewBefore: `${settings.renewBeforeHours}h0m0s`,
              privateKey: { algorithm: "ECDSA", size: 256, rotationPolicy: "Always" },
              usages: ["digital signature", "key encipherment", "server auth", "client auth"],
              issuerRef: { name: settings.issuerName, kind: settings.issuerKind, group: "cert-manager.io" },
            },
          },
          { parent: this },
        );
        return certificate.metadata.apply(() => secretName);
      }
    }
  }
}

import { execFile } from "node:child_process";
import { createPrivateKey, randomBytes, X509Certificate } from "node:crypto";
import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import {
  CERTIFICATE_NAMES,
  type CertificateName,
  type CertificatePems,
} from "../../../components/common/certificates.ts";
import { writePrivate } from "../../private-file.ts";

const run = promisify(execFile);
const CA_DAYS = 3650;
const LEAF_DAYS = 365;
/** A leaf is made anew at the first start in its last 30 days. */
const RENEW_BEFORE_MS = 30 * 24 * 3600 * 1000;

/** Certificates of the embedded default: one CA for all regions of an instance, kept in `folder` (0700). */
export class LocalPki {
  private readonly folder: string;

  constructor(folder: string) {
    this.folder = folder;
  }

  /** File with the CA's certificate, for whoever wants to trust it. */
  get caFile(): string {
    return join(this.folder, "ca.crt");
  }

  /** The certificates of one region's parts; made when missing, for other names, or near their end. */
  async certificates(region: string, dnsNames: Record<CertificateName, string[]>): Promise<CertificatePems> {
    await this.ensureCa();
    const pems: CertificatePems = {};
    for (const part of CERTIFICATE_NAMES) pems[part] = await this.leaf(region, part, dnsNames[part]);
    return pems;
  }

  private async ensureCa(): Promise<void> {
    mkdirSync(this.folder, { recursive: true, mode: 0o700 });
    if (existsSync(this.caFile) && existsSync(join(this.folder, "ca.key"))) return;
    await this.openssl([
      "req",
      "-x509",
      ...NEW_KEY,
      "-days",
      String(CA_DAYS),
      "-subj",
      "/CN=iam-ha local CA",
      "-addext",
      "basicConstraints=critical,CA:TRUE,pathlen:0",
      "-addext",
      "keyUsage=critical,keyCertSign,cRLSign",
      "-keyout",
      "ca.key.new",
      "-out",
      "ca.crt.new",
    ]);
    this.keep("ca.key");
    this.keep("ca.crt");
    chmodSync(this.caFile, 0o644);
  }

  private async leaf(region: string, part: CertificateName, names: string[]) {
    const base = `${region}-${part}`;
    const read = (name: string) => readFileSync(join(this.folder, name), "utf8");
    if (!this.usable(base, names)) {
      const extensions = [
        `subjectAltName=${names.map((name) => `DNS:${name}`).join(",")}`,
        "basicConstraints=critical,CA:FALSE",
        "keyUsage=critical,digitalSignature",
        "extendedKeyUsage=serverAuth,clientAuth",
      ];
      writePrivate(join(this.folder, `${base}.ext`), `${extensions.join("\n")}\n`);
      await this.openssl([
        "req",
        ...NEW_KEY,
        "-subj",
        `/CN=${names[0]}`,
        "-keyout",
        `${base}.key.new`,
        "-out",
        `${base}.csr`,
      ]);
      await this.openssl([
        "x509",
        "-req",
        "-in",
        `${base}.csr`,
        "-CA",
        "ca.crt",
        "-CAkey",
        "ca.key",
        "-set_serial",
        serial(),
        "-days",
        String(LEAF_DAYS),
        "-extfile",
        `${base}.ext`,
        "-out",
        `${base}.crt.new`,
      ]);
      this.keep(`${base}.key`);
      this.keep(`${base}.crt`);
      for (const left of [`${base}.csr`, `${base}.ext`]) rmSync(join(this.folder, left), { force: true });
    }
    return { certificate: read(`${base}.crt`), key: read(`${base}.key`), ca: read("ca.crt") };
  }

  private usable(base: string, names: string[]): boolean {
    const file = join(this.folder, `${base}.crt`);
    const keyFile = join(this.folder, `${base}.key`);
    if (!existsSync(file) || !existsSync(keyFile)) return false;
    const certificate = new X509Certificate(readFileSync(file));
    const has = new Set(certificate.subjectAltName?.split(", "));
    const ca = new X509Certificate(readFileSync(this.caFile));
    return (
      names.every((name) => has.has(`DNS:${name}`)) &&
      certificate.validToDate.getTime() - Date.now() > RENEW_BEFORE_MS &&
      certificate.verify(ca.publicKey) &&
      // Killed between two renames, the key may be newer than its certificate.
      certificate.checkPrivateKey(createPrivateKey(readFileSync(keyFile)))
    );
  }

  private keep(name: string): void {
    renameSync(join(this.folder, `${name}.new`), join(this.folder, name));
  }

  private async openssl(args: string[]): Promise<void> {
    await run("openssl", args, { cwd: this.folder, timeout: 30_000 });
  }
}

const NEW_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc"];

function serial(): string {
  return `0x${randomBytes(16).toString("hex")}`;
}

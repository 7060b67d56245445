import { execFile } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);

/** A certificate authority for one test, in a folder: ca.crt and ca.key. */
export async function makeAuthority(dir: string, commonName = "test authority"): Promise<void> {
  await run("openssl", [
    ...["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"],
    ...["-subj", `/CN=${commonName}`, "-keyout", join(dir, "ca.key"), "-out", join(dir, "ca.crt")],
    ...["-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign"],
  ]);
}

/** A certificate by the authority in `authority`, for servers and clients: `<into>/tls.crt`, `tls.key` and `ca.crt`. The
 *  first name is its common name. */
export async function issueCertificate(authority: string, into: string, dnsNames: readonly string[]): Promise<void> {
  const extensions = join(into, "extensions.cnf");
  await writeFile(
    extensions,
    `subjectAltName=${dnsNames.map((name) => `DNS:${name}`).join(",")}\nextendedKeyUsage=serverAuth,clientAuth\n`,
  );
  await run("openssl", [
    ...["req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"],
    ...["-subj", `/CN=${dnsNames[0]}`, "-keyout", join(into, "tls.key"), "-out", join(into, "tls.csr")],
  ]);
  await run("openssl", [
    ...[
      "x509",
      "-req",
      "-in",
      join(into, "tls.csr"),
      "-days",
      "2",
      "-extfile",
      extensions,
      "-out",
      join(into, "tls.crt"),
    ],
    ...["-CA", join(authority, "ca.crt"), "-CAkey", join(authority, "ca.key"), "-CAcreateserial"],
  ]);
  await writeFile(join(into, "ca.crt"), await readFile(join(authority, "ca.crt")));
}

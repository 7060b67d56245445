import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { dirname } from "node:path";
import { CREDENTIAL_NAMES, type CredentialName } from "../../../components/common/credentials.ts";
import { writePrivate } from "../../private-file.ts";
import { makePassword } from "../../render/random-state.ts";

/** Passwords that regions share: a standby cluster has the roles of its source. The others are each region's own and
 *  are left to the program. */
const SHARED: readonly CredentialName[] = [
  "postgresSuperuser",
  "postgresReplication",
  "postgresRewind",
  "postgresApp",
  "redis",
  "apiAdmin",
];

/** The passwords that all embedded regions share, made once and kept in a file of mode 0600. */
export function sharedPasswords(file: string): Partial<Record<CredentialName, string>> {
  const kept = existsSync(file)
    ? (JSON.parse(readFileSync(file, "utf8")) as Partial<Record<CredentialName, string>>)
    : {};
  const missing = CREDENTIAL_NAMES.filter((name) => SHARED.includes(name) && kept[name] === undefined);
  if (missing.length === 0) return kept;
  const all = { ...kept, ...Object.fromEntries(missing.map((name) => [name, makePassword(32)])) };
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  writePrivate(file, `${JSON.stringify(all, null, 2)}\n`);
  return all;
}

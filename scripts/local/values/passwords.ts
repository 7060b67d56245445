import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { dirname } from "node:path";
import { type CredentialName, SHARED_CREDENTIALS } from "../../../components/common/credentials.ts";
import { writePrivate } from "../../private-file.ts";
import { makePassword } from "../../render/random-state.ts";

/** The passwords that all embedded regions share, made once and kept in a file of mode 0600. */
export function sharedPasswords(file: string): Partial<Record<CredentialName, string>> {
  const kept = existsSync(file)
    ? (JSON.parse(readFileSync(file, "utf8")) as Partial<Record<CredentialName, string>>)
    : {};
  const missing = SHARED_CREDENTIALS.filter((name) => kept[name] === undefined);
  if (missing.length === 0) return kept;
  const all = { ...kept, ...Object.fromEntries(missing.map((name) => [name, makePassword(32)])) };
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  writePrivate(file, `${JSON.stringify(all, null, 2)}\n`);
  return all;
}

import { join } from "node:path";
import { planInstance } from "../local/plan/instance.ts";

/** Folder (0700) of an instance's certificates, passwords and state. */
export function instanceFolder(instance: string): string {
  return planInstance(process.env, instance).state;
}

/** What `random` makes for a region without the engine. */
export function randomFile(instance: string, region: string): string {
  return join(instanceFolder(instance), "random", `${region}.json`);
}

/** Body of the sample login, for curl's `--data @file`. */
export function loginFile(instance: string): string {
  return join(instanceFolder(instance), "login.json");
}

/** Certificate of the CA that signed the embedded default's certificates. */
export function caFile(instance: string): string {
  return join(instanceFolder(instance), "pki", "ca.crt");
}

import { randomInt } from "node:crypto";
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { dirname } from "node:path";
import { writePrivate } from "../private-file.ts";

const ALPHANUMERIC = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/** What `@pulumi/random` would make and keep in the engine's state: made once, kept in a file of mode 0600. */
export class RandomState {
  private readonly file: string;
  private readonly values: Record<string, string>;

  constructor(file: string) {
    this.file = file;
    this.values = existsSync(file) ? (JSON.parse(readFileSync(file, "utf8")) as Record<string, string>) : {};
  }

  /** The provider's computed properties of a resource, made now if it is new; undefined for other providers' types.
   *  @throws Error for a type of `random` that is not supported here */
  compute(type: string, name: string, inputs: Record<string, unknown>): Record<string, unknown> | undefined {
    if (!type.startsWith("random:")) return undefined;
    if (type !== "random:index/randomPassword:RandomPassword")
      throw new Error(`${type} is not supported without the engine`);
    if (inputs["special"] !== false)
      throw new Error(`${name}: only passwords with special: false are supported without the engine`);
    const key = `${type}::${name}`;
    let value = this.values[key];
    if (value === undefined) {
      value = makePassword(Number(inputs["length"]));
      this.values[key] = value;
      this.save();
    }
    return { result: value };
  }

  /** What was made already; undefined for what would be made now. Changes nothing. */
  known(type: string, name: string): Record<string, unknown> | undefined {
    const value = this.values[`${type}::${name}`];
    return value === undefined ? undefined : { result: value };
  }

  private save(): void {
    mkdirSync(dirname(this.file), { recursive: true, mode: 0o700 });
    writePrivate(this.file, `${JSON.stringify(this.values, null, 2)}\n`);
  }
}

/** A password of letters and digits from the system's random source. */
export function makePassword(length: number): string {
  return Array.from({ length }, () => ALPHANUMERIC[randomInt(ALPHANUMERIC.length)]).join("");
}

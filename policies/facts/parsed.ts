import { parse } from "yaml";
import type { z } from "zod";
import { CannotJudge } from "./stack.ts";

/** A value in the shape that a rule reads.
 *  @throws CannotJudge with the path of what is missing or of another type */
export function shaped<T>(schema: z.ZodType<T>, value: unknown, where: string): T {
  const result = schema.safeParse(value, { reportInput: true });
  if (result.success) return result.data;
  const { path, input, message } = result.error.issues[0]!;
  const found = input === undefined ? "is not set" : `found ${JSON.stringify(input)}; ${message}`;
  throw new CannotJudge(`${where}${path.length > 0 ? ` ${path.join(".")}` : ""}: ${found}`);
}

/** A JSON file in the shape that a rule reads.
 *  @throws CannotJudge */
export function jsonAs<T>(schema: z.ZodType<T>, text: string, where: string): T {
  return shaped(
    schema,
    read(() => JSON.parse(text) as unknown, where),
    where,
  );
}

/** A YAML file as Python's PyYAML reads it, for which `on` is true.
 *  @throws CannotJudge */
export function yamlAs<T>(schema: z.ZodType<T>, text: string, where: string): T {
  return shaped(
    schema,
    read(() => parse(text, { version: "1.1" }) as unknown, where),
    where,
  );
}

function read(from: () => unknown, where: string): unknown {
  try {
    return from();
  } catch (error) {
    throw new CannotJudge(`${where}: ${error instanceof Error ? error.message : String(error)}`);
  }
}

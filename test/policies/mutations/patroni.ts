import type { Mutation } from "../mutation.ts";

/** Changes what all members of the database share. */
export const shared =
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- a mutation goes wherever it likes
  (change: (dcs: any) => void): Mutation["change"] =>
    (stack) =>
      stack.json("postgresql-patroni", "20-dynamic.yml", ({ bootstrap }) => change(bootstrap.dcs));

/** Sets a parameter of PostgreSQL; takes it away for undefined. */
export const parameter = (name: string, value: unknown): Mutation["change"] =>
  shared((dcs) => (dcs.postgresql.parameters[name] = value));

/** Changes what a member has of its own. */
export const local =
  (from: RegExp, to: string): Mutation["change"] =>
  (stack) =>
    stack.file("postgresql-patroni", "10-patroni.yml", (text) => text.replace(from, to));

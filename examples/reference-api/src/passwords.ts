import { randomBytes, scrypt, timingSafeEqual, type ScryptOptions } from "node:crypto";
import { ApiError } from "./errors.ts";

/** Cost of a hash. N = 2^14, r = 8, p = 5 is one of the equivalent choices of OWASP's password storage guidance; of
 *  them it needs the least memory, 16 MiB, which counts as several are made at once in a small pod. */
const COST = { ln: 14, r: 8, p: 5 } as const;
const SALT_BYTES = 16;
const KEY_BYTES = 32;

/** Longest password in bytes. Hashing is linear in it. */
export const MAX_PASSWORD_BYTES = 256;

/** Hashes at once: half of libuv's four threads, so that name resolution and files never wait behind them. */
const MAX_RUNNING = 2;
/** Hashes that wait for their turn; at about 0.25 s of CPU each this is some 2 s. More are refused. */
const MAX_WAITING = 16;

let running = 0;
const waiting: (() => void)[] = [];

async function turn<T>(work: () => Promise<T>): Promise<T> {
  if (running >= MAX_RUNNING) {
    if (waiting.length >= MAX_WAITING) throw new ApiError(503, "overloaded", "Too many logins at once; try again.", 1);
    await new Promise<void>((resolve) => waiting.push(resolve));
  } else {
    running++;
  }
  try {
    return await work();
  } finally {
    // The place goes to the next one directly, so that no newcomer takes it in between.
    const next = waiting.shift();
    if (next) next();
    else running--;
  }
}

function derive(
  password: string,
  salt: Buffer,
  cost: { ln: number; r: number; p: number },
  bytes: number,
): Promise<Buffer> {
  const N = 2 ** cost.ln;
  const options: ScryptOptions = { N, r: cost.r, p: cost.p, maxmem: 256 * N * cost.r };
  return turn(
    () =>
      new Promise((resolve, reject) =>
        scrypt(password.normalize("NFKC"), salt, bytes, options, (error, key) =>
          error ? reject(error) : resolve(key),
        ),
      ),
  );
}

/** Hashes a password: `$scrypt$ln=14,r=8,p=5$<salt>$<key>`, base64 without padding (the PHC string format). */
export async function hashPassword(password: string): Promise<string> {
  const salt = randomBytes(SALT_BYTES);
  const key = await derive(password, salt, COST, KEY_BYTES);
  const text = (bytes: Buffer) => bytes.toString("base64").replace(/=+$/, "");
  return `$scrypt$ln=${COST.ln},r=${COST.r},p=${COST.p}$${text(salt)}$${text(key)}`;
}

/** What a user that does not exist is compared with, so that the answer takes as long as for one that does. Its salt and
 *  key belong to no password. */
const NOBODY = `$scrypt$ln=${COST.ln},r=${COST.r},p=${COST.p}$${"A".repeat(22)}$${"A".repeat(43)}`;

/** Whether a password is the one of a hash. Takes as long for a hash that is undefined (no such user).
 *  @throws Error on a hash that is not one of ours, or costs more than ours ever do */
export async function verifyPassword(password: string, hash: string | undefined): Promise<boolean> {
  const match = /^\$scrypt\$ln=(\d{1,2}),r=(\d{1,2}),p=(\d{1,2})\$([A-Za-z0-9+/]{22})\$([A-Za-z0-9+/]{43})$/.exec(
    hash ?? NOBODY,
  );
  if (!match) throw new Error("a stored password hash is not in the form that is expected");
  const [ln, r, p] = match.slice(1, 4).map(Number) as [number, number, number];
  if (ln < 1 || ln > 17 || r < 1 || r > 8 || p < 1 || p > 10)
    throw new Error("a stored password hash has a cost out of range");
  const expected = Buffer.from(match[5]!, "base64");
  const key = await derive(password, Buffer.from(match[4]!, "base64"), { ln, r, p }, expected.length);
  return timingSafeEqual(key, expected) && hash !== undefined;
}

/** What was waited for did not come in time. */
export class DeadlineError extends Error {
  constructor(what: string, millis: number) {
    super(`${what} did not answer within ${millis} ms`);
    this.name = "DeadlineError";
  }
}

/** Waits for a promise, and no longer than `millis`. The work itself goes on: whoever starts it has to bound it too.
 *  @throws DeadlineError when it takes longer */
export async function within<T>(what: string, millis: number, promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new DeadlineError(what, millis)), millis);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

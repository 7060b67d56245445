/** An answer that is not a success, as clients see it: a status, a code for programs and a message for people. */
export class ApiError extends Error {
  readonly status: number;
  readonly code: string;
  readonly retryAfterSeconds: number | undefined;
  constructor(status: number, code: string, message: string, retryAfterSeconds?: number) {
    super(message);
    this.name = "ApiError";
    this.status = status;
    this.code = code;
    this.retryAfterSeconds = retryAfterSeconds;
  }
}

/** Body of every error, the same as the edge's own. */
export function errorBody(code: string, message: string, requestId: string): object {
  return { error: { code, message, requestId } };
}

export const unauthenticated = () => new ApiError(401, "unauthenticated", "A valid session is needed.");
export const unavailable = (part: string) =>
  new ApiError(503, "unavailable", `The ${part} is not available; try again.`, 1);

/** An error for the log: what it says and where it came from. Never its other properties: those of the drivers hold the
 *  command that failed, and with it passwords and session ids. */
export function describeError(error: unknown): object {
  if (!(error instanceof Error)) return { message: String(error) };
  const { name, message, stack, cause } = error;
  const code = (error as { code?: unknown }).code;
  return {
    type: name,
    message,
    ...(typeof code === "string" ? { code } : {}),
    ...(error instanceof ApiError ? {} : { stack }),
    ...(cause === undefined ? {} : { cause: describeError(cause) }),
  };
}

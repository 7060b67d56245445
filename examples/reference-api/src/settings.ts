import { readFileSync } from "node:fs";
import { hostname } from "node:os";

/** What the reference API has to know, read from the environment once (docs/api.md lists the variables). */
export interface Settings {
  readonly region: string;
  /** Name of this server in sessions: the pod's name. */
  readonly serverId: string;
  readonly port: number;
  /** HTTPS with a client certificate demanded for everything but health; undefined for plain HTTP. */
  readonly tls:
    | { readonly certFile: string; readonly keyFile: string; readonly caFile: string; readonly edgeName: string }
    | undefined;
  readonly database: {
    readonly host: string;
    readonly port: number;
    readonly user: string;
    readonly passwordFile: string;
    readonly caFile: string;
    readonly write: string;
    readonly read: string;
  };
  readonly redis: {
    readonly host: string;
    readonly port: number;
    readonly user: string;
    readonly passwordFile: string;
    readonly caFile: string;
  };
  readonly adminPasswordFile: string;
  readonly sessionTtlSeconds: number;
  readonly externalServices: readonly string[];
  /** How long each health check may take; defaults of §5.1.2: 5 s, 3 s, 3 s, 5 s. */
  readonly healthTimeouts: {
    readonly api: number;
    readonly database: number;
    readonly redis: number;
    readonly external: number;
  };
  readonly drainSeconds: number;
  readonly logLevel: string;
}

/** Bad settings: one line a problem. */
export class SettingsError extends Error {
  readonly problems: readonly string[];
  constructor(problems: readonly string[]) {
    super(`the environment is not complete:\n${problems.map((problem) => `  - ${problem}`).join("\n")}`);
    this.name = "SettingsError";
    this.problems = problems;
  }
}

/** Reads the settings from environment variables.
 *  @throws SettingsError with all problems at once */
export function readSettings(env: Readonly<Record<string, string | undefined>>): Settings {
  const problems: string[] = [];
  const text = (name: string, fallback?: string): string => {
    const value = env[name] || fallback;
    if (value === undefined) problems.push(`${name} is not set`);
    return value ?? "";
  };
  const number = (name: string, fallback: number, min: number, max: number): number => {
    const given = env[name];
    const value = given ? Number(given) : fallback;
    if (!Number.isInteger(value) || value < min || value > max) {
      problems.push(`${name} is ${JSON.stringify(given)}; it must be a whole number from ${min} to ${max}`);
    }
    return value;
  };
  const millis = (name: string, fallback: number) => number(name, fallback, 1, 60_000);
  const caFile = text("CA_FILE");
  const settings: Settings = {
    region: text("REGION", "local"),
    serverId: text("SERVER_ID", hostname()),
    port: number("PORT", 3000, 1, 65_535),
    tls: env["TLS_CERT_FILE"]
      ? {
          certFile: env["TLS_CERT_FILE"],
          keyFile: text("TLS_KEY_FILE"),
          caFile,
          edgeName: text("EDGE_CLIENT_NAME", "edge-client"),
        }
      : undefined,
    database: {
      host: text("DATABASE_HOST"),
      port: number("DATABASE_PORT", 6432, 1, 65_535),
      user: text("DATABASE_USER"),
      passwordFile: text("DATABASE_PASSWORD_FILE"),
      caFile,
      write: text("DATABASE_WRITE", "iam"),
      read: text("DATABASE_READ", "iam_ro"),
    },
    redis: {
      host: text("REDIS_HOST"),
      port: number("REDIS_PORT", 6379, 1, 65_535),
      user: text("REDIS_USER", "default"),
      passwordFile: text("REDIS_PASSWORD_FILE"),
      caFile,
    },
    adminPasswordFile: text("ADMIN_PASSWORD_FILE"),
    sessionTtlSeconds: number("SESSION_TTL_SECONDS", 3600, 1, 604_800),
    externalServices: urls(env["EXTERNAL_SERVICES"], problems),
    healthTimeouts: {
      api: millis("HEALTH_API_TIMEOUT_MILLIS", 5000),
      database: millis("HEALTH_DATABASE_TIMEOUT_MILLIS", 3000),
      redis: millis("HEALTH_REDIS_TIMEOUT_MILLIS", 3000),
      external: millis("HEALTH_EXTERNAL_TIMEOUT_MILLIS", 5000),
    },
    drainSeconds: number("DRAIN_SECONDS", 10, 0, 600),
    logLevel: text("LOG_LEVEL", "info"),
  };
  if (problems.length > 0) throw new SettingsError(problems);
  return settings;
}

function urls(json: string | undefined, problems: string[]): string[] {
  if (!json) return [];
  try {
    const list: unknown = JSON.parse(json);
    if (Array.isArray(list) && list.every((item) => typeof item === "string" && URL.canParse(item)))
      return list as string[];
  } catch {
    // Said below.
  }
  problems.push("EXTERNAL_SERVICES must be a JSON array of URLs");
  return [];
}

/** A secret from its file, without the line end that editors add. Read anew each time: the file changes with the secret. */
export function readSecret(file: string): string {
  return readFileSync(file, "utf8").trimEnd();
}

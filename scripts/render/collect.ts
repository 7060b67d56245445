import * as pulumi from "@pulumi/pulumi";

/** What Pulumi's wire format writes in place of a value that is not known yet. */
export const UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9";
/** Key that marks a value of the wire format as a special one, and what it holds for a secret. */
export const SIGNATURE = "4dabf18193072939515e22adb298388d";
export const SECRET = "1b47061264138c4ac30d75fd1eb44270";

/** One resource as the program registered it. */
export interface RegisteredResource {
  readonly urn: string;
  /** Pulumi type token, such as `kubernetes:apps/v1:Deployment`. */
  readonly type: string;
  readonly name: string;
  readonly custom: boolean;
  /** URN of the parent; empty for none. */
  readonly parent: string;
  /** Reference to the provider (`urn::id`); empty where the default provider would be taken. */
  readonly provider: string;
  readonly protect: boolean;
  readonly retainOnDelete: boolean;
  /** Undefined where the program does not say and the provider decides. */
  readonly deleteBeforeReplace?: boolean | undefined;
  readonly ignoreChanges: readonly string[];
  readonly dependencies: readonly string[];
  /** Inputs in plain, secrets unwrapped. Never print them: see `secretPaths`. */
  readonly inputs: Record<string, unknown>;
  /** Paths of the inputs (segments) that are marked secret. */
  readonly secretPaths: readonly (readonly string[])[];
}

export interface CollectOptions {
  /** Name of the stack. */
  readonly stack: string;
  /** Whether to run as `pulumi preview` does: results of resources that do not exist yet are unknown. */
  readonly preview: boolean;
  /** The stack's config, with full keys (`iam-ha:region`), values as text (JSON for all but strings). */
  readonly config?: Record<string, string>;
  /** Full keys of secret config values. */
  readonly secretKeys?: readonly string[];
  /** Result of a resource that a provider would compute (a random password, say); undefined for none. */
  readonly compute?: (
    type: string,
    name: string,
    inputs: Record<string, unknown>,
  ) => Record<string, unknown> | undefined;
  /** The program gives up after this time; default 60000 ms. */
  readonly timeoutMs?: number;
}

export interface Collected {
  readonly resources: readonly RegisteredResource[];
  /** What the program exported; outputs resolved, secrets unwrapped. */
  readonly outputs: Record<string, unknown>;
}

/** Runs a Pulumi program without the engine, under Pulumi's own test runtime, and collects what it registers.
 *  @throws whatever the program throws, and an error when it does not end in time */
export async function collect(program: () => Promise<unknown>, options: CollectOptions): Promise<Collected> {
  const resources: RegisteredResource[] = [];
  pulumi.runtime.setAllConfig(options.config ?? {}, [...(options.secretKeys ?? [])]);
  await pulumi.runtime.setMocks(
    {
      newResource: (args) => {
        const computed = options.compute?.(args.type, args.name, args.inputs as Record<string, unknown>);
        const state = { ...args.inputs, ...computed };
        if (options.preview && computed) for (const key of Object.keys(computed)) state[key] = UNKNOWN;
        return { id: args.custom && options.preview ? undefined : `${args.name}-id`, state };
      },
      call: (args) => args.inputs as Record<string, unknown>,
    },
    "iam-ha",
    options.stack,
    options.preview,
  );
  record(resources);
  const run = async () => {
    const exported = await pulumi.runtime.runInPulumiStack(async () => ({ ...((await program()) as object) }));
    // Registrations go on after the program's last line: each output may lead to another one.
    await pulumi.runtime.disconnect();
    return exported;
  };
  const exported = await withTimeout(run(), options.timeoutMs ?? 60_000);
  return { resources, outputs: (await plain(exported)) as Record<string, unknown> };
}

/** The mocks are not told of parents, providers, protection and secrets; the requests to the monitor are. */
function record(into: RegisteredResource[]): void {
  const monitor = pulumi.runtime.getMonitor() as unknown as {
    registerResource(req: WireRequest, callback: (error: unknown, response?: WireResponse) => void): unknown;
  };
  const original = monitor.registerResource.bind(monitor);
  monitor.registerResource = (req, callback) =>
    original(req, (error, response) => {
      if (response) into.push(toResource(req, response.getUrn()));
      callback(error, response);
    });
}

interface WireRequest {
  getType(): string;
  getName(): string;
  getCustom(): boolean;
  getParent(): string;
  getProvider(): string;
  getProtect(): boolean;
  getRetainondelete(): boolean;
  getDeletebeforereplace(): boolean;
  getDeletebeforereplacedefined(): boolean;
  getIgnorechangesList(): string[];
  getDependenciesList(): string[];
  getObject(): { toJavaScript(): Record<string, unknown> } | undefined;
}
interface WireResponse {
  getUrn(): string;
}

function toResource(req: WireRequest, urn: string): RegisteredResource {
  const secretPaths: string[][] = [];
  const inputs = unwrap(req.getObject()?.toJavaScript() ?? {}, [], secretPaths) as Record<string, unknown>;
  return {
    urn,
    type: req.getType(),
    name: req.getName(),
    custom: req.getCustom(),
    parent: req.getParent(),
    provider: req.getProvider(),
    protect: req.getProtect(),
    retainOnDelete: req.getRetainondelete(),
    deleteBeforeReplace: req.getDeletebeforereplacedefined() ? req.getDeletebeforereplace() : undefined,
    ignoreChanges: req.getIgnorechangesList(),
    dependencies: req.getDependenciesList(),
    inputs,
    secretPaths,
  };
}

/** The value with its secrets in plain; adds the paths of those to `secretPaths`. */
export function unwrap(value: unknown, path: string[], secretPaths: string[][]): unknown {
  if (Array.isArray(value)) return value.map((item, i) => unwrap(item, [...path, String(i)], secretPaths));
  if (value === null || typeof value !== "object") return value;
  const record = value as Record<string, unknown>;
  if (record[SIGNATURE] === SECRET) {
    secretPaths.push(path);
    return unwrap(record["value"], path, secretPaths);
  }
  return Object.fromEntries(
    Object.entries(record).map(([key, item]) => [key, unwrap(item, [...path, key], secretPaths)]),
  );
}

function plain(value: unknown): Promise<unknown> {
  const output = pulumi.output(value) as pulumi.Output<unknown>;
  return new Promise((resolve) => output.apply((resolved) => resolve(resolved)));
}

async function withTimeout<T>(promise: Promise<T>, ms: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`the program did not end within ${ms} ms`)), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

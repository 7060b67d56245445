import grpc, { type CallOptions, type ClientUnaryCall, type ServiceError } from "@grpc/grpc-js";
import empty from "google-protobuf/google/protobuf/empty_pb.js";
import services from "@pulumi/pulumi/proto/analyzer_grpc_pb.js";
import analyzer from "@pulumi/pulumi/proto/analyzer_pb.js";
import type {
  AnalyzeDiagnostic,
  AnalyzerInfo,
  AnalyzeRequest,
  AnalyzerResource,
  AnalyzeResponse,
  PolicyInfo,
  RemediateResponse,
  Remediation,
} from "@pulumi/pulumi/proto/analyzer_pb.js";
import { PROJECT } from "../render/stack-config.ts";
import type { ResolvedConfig } from "./config.ts";
import { levelNumber } from "./levels.ts";
import { PackProcess, type PackOptions } from "./process.ts";
import { toStruct } from "./wire.ts";

/** As the engine and the pack's server have it: a stack is far smaller. */
const MESSAGE_BYTES = 400 * 1024 * 1024;

export interface AnalyzerOptions extends PackOptions {
  /** Time in which one call has to be answered, in milliseconds; default 30000. A call judges one resource, or all of
   *  one stack. */
  readonly callMs?: number;
}

type Callback<Response> = (error: ServiceError | null, response: Response) => void;

/** A running pack, spoken to as the engine speaks to it. Every call has a deadline; one that fails throws an error which
 *  says what was being done, how the process ended where it did, and what it wrote. */
export class Analyzer {
  private readonly pack: PackProcess;
  private readonly client: InstanceType<typeof services.AnalyzerClient>;
  private readonly callMs: number;
  private readonly signal: AbortSignal | undefined;

  private constructor(pack: PackProcess, { callMs = 30_000, signal }: AnalyzerOptions) {
    this.pack = pack;
    this.callMs = callMs;
    this.signal = signal;
    this.client = new services.AnalyzerClient(`127.0.0.1:${pack.port}`, grpc.credentials.createInsecure(), {
      "grpc.max_receive_message_length": MESSAGE_BYTES,
      "grpc.max_send_message_length": MESSAGE_BYTES,
      // A proxy of the environment is not for the way to the own process.
      "grpc.enable_http_proxy": 0,
      "grpc.enable_retries": 0,
    });
  }

  /** Starts a pack. Whoever starts it ends it.
   *  @throws Error when the pack does not start, see PackProcess */
  static async start(options: AnalyzerOptions = {}): Promise<Analyzer> {
    return new Analyzer(await PackProcess.start(options), options);
  }

  /** Process id of the pack's server. */
  get pid(): number | undefined {
    return this.pack.pid;
  }

  async end(): Promise<void> {
    this.client.close();
    await this.pack.end();
  }

  /** What the pack says of itself and its rules. */
  info(): Promise<AnalyzerInfo> {
    return this.call("what its rules are", (options, done) =>
      this.client.getAnalyzerInfo(new empty.Empty(), new grpc.Metadata(), options, done),
    );
  }

  /** Sets level and configuration of every rule. */
  async configure(config: ResolvedConfig): Promise<void> {
    const request = new analyzer.ConfigureAnalyzerRequest();
    for (const [rule, { level, properties }] of Object.entries(config)) {
      const message = new analyzer.PolicyConfig();
      message.setEnforcementlevel(levelNumber(level));
      message.setProperties(toStruct(properties));
      request.getPolicyconfigMap().set(rule, message);
    }
    await this.call("its configuration", (options, done) =>
      this.client.configure(request, new grpc.Metadata(), options, done),
    );
  }

  /** Says which stack the calls that follow are about. */
  async configureStack(stack: string): Promise<void> {
    const request = new analyzer.AnalyzerStackConfigureRequest();
    request.setProject(PROJECT);
    request.setStack(stack);
    request.setDryRun(true);
    await this.call(`the stack ${stack}`, (options, done) =>
      this.client.configureStack(request, new grpc.Metadata(), options, done),
    );
  }

  /** Lets the rules at the level `remediate` change one resource. */
  async remediate(request: AnalyzeRequest): Promise<Remediation[]> {
    const response = await this.call<RemediateResponse>(`the remediation of ${request.getUrn()}`, (options, done) =>
      this.client.remediate(request, new grpc.Metadata(), options, done),
    );
    return response.getRemediationsList();
  }

  /** Judges one resource. */
  async analyze(request: AnalyzeRequest): Promise<AnalyzeDiagnostic[]> {
    const response = await this.call<AnalyzeResponse>(request.getUrn(), (options, done) =>
      this.client.analyze(request, new grpc.Metadata(), options, done),
    );
    return response.getDiagnosticsList();
  }

  /** Judges all resources of a stack together. */
  async analyzeStack(resources: readonly AnalyzerResource[]): Promise<AnalyzeDiagnostic[]> {
    const request = new analyzer.AnalyzeStackRequest();
    request.setResourcesList([...resources]);
    const response = await this.call<AnalyzeResponse>("all resources together", (options, done) =>
      this.client.analyzeStack(request, new grpc.Metadata(), options, done),
    );
    return response.getDiagnosticsList();
  }

  private async call<Response>(
    about: string,
    start: (options: CallOptions, done: Callback<Response>) => ClientUnaryCall,
  ): Promise<Response> {
    this.signal?.throwIfAborted();
    let cancel = () => {};
    try {
      return await new Promise<Response>((resolve, reject) => {
        const running = start({ deadline: Date.now() + this.callMs }, (error, response) =>
          error ? reject(error) : resolve(response),
        );
        cancel = () => running.cancel();
        this.signal?.addEventListener("abort", cancel);
      });
    } catch (error) {
      this.signal?.throwIfAborted();
      throw new Error(`policy pack, asked about ${about}: ${await this.cause(error as ServiceError)}`);
    } finally {
      this.signal?.removeEventListener("abort", cancel);
    }
  }

  private async cause(error: ServiceError): Promise<string> {
    if (error.code === grpc.status.DEADLINE_EXCEEDED) return `no answer within ${this.callMs} ms${this.pack.wrote}`;
    const gone = error.code === grpc.status.UNAVAILABLE ? await this.pack.failure() : undefined;
    return gone ? `its process ${gone}` : `${error.details}${this.pack.wrote}`;
  }
}

/** Rules by name, as the pack describes them. */
export function rulesIn(info: AnalyzerInfo): ReadonlyMap<string, PolicyInfo> {
  return new Map(info.getPoliciesList().map((policy) => [policy.getName(), policy]));
}

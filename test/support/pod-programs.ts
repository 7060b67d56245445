import { spawn, type ChildProcessWithoutNullStreams } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const FILES = fileURLToPath(new URL("../../components/postgres/files", import.meta.url));
const DRIVER = `
import base64, json, sys
sys.dont_write_bytecode = True
sys.path.insert(0, sys.argv[1])
import rules, roles, birth, source, clone
def run(name, args):
    if name == "scram_verifier": args = [args[0], base64.b64decode(args[1])]
    if name == "parse":
        try: return birth.parse(args[0])
        except ValueError as error: return str(error)
    for module in (rules, roles, birth, source, clone):
        if hasattr(module, name): return getattr(module, name)(*args)
for line in sys.stdin:
    print(json.dumps([run(name, args) for name, args in json.loads(line)]), flush=True)
`;

/** Functions of the database pod's Python programs, called in one Python for all tests of a file. */
export class PodPrograms {
  #python: ChildProcessWithoutNullStreams | undefined;
  #answers: AsyncIterator<string> | undefined;
  #complaints = "";

  start(): void {
    this.#python = spawn("python3", ["-c", DRIVER, FILES]);
    this.#python.stderr.on("data", (chunk: Buffer) => (this.#complaints += chunk.toString()));
    this.#answers = createInterface(this.#python.stdout)[Symbol.asyncIterator]();
  }

  /** Calls functions by name, with plain arguments; gives their results in order. */
  async call(calls: readonly [name: string, args: unknown[]][]): Promise<unknown[]> {
    this.#python!.stdin.write(`${JSON.stringify(calls)}\n`);
    const { done, value } = await this.#answers!.next();
    if (done) throw new Error(`Python ended: ${this.#complaints}`);
    return JSON.parse(value) as unknown[];
  }

  stop(): void {
    this.#python?.kill();
  }
}

import { spawn, type ChildProcessByStdio } from "node:child_process";
import { once } from "node:events";
import { createRequire } from "node:module";
import { join } from "node:path";
import type { Readable, Writable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import { ROOT } from "../paths.ts";

/** Folder of the project's own pack. */
export const PACK_DIR = join(ROOT, "policies");
/** Nobody answers there: a pack is told where the engine is, and this one needs nothing of it. */
const NO_ENGINE = "127.0.0.1:1";
/** What is kept of the pack's standard error: its end, where the cause stands. */
const STDERR_CHARS = 4096;
/** A port is five digits; a first line that goes on longer is none. */
const PORT_LINE_CHARS = 200;
/** Time for the end of a process after SIGKILL; it cannot refuse, but a loaded machine takes a while. */
const END_MS = 10_000;

export interface PackOptions {
  /** Folder with PulumiPolicy.yaml; default: the project's own. */
  readonly pack?: string;
  /** Time in which the pack has to be ready, in milliseconds; default 30000. */
  readonly startMs?: number;
  readonly signal?: AbortSignal;
}

/** A pack's server in a process of its own, started as the engine's language host for Node starts it. */
export class PackProcess {
  /** Port on 127.0.0.1. */
  readonly port: number;
  private readonly child: Pack;

  private constructor(child: Pack, port: number) {
    this.child = child;
    this.port = port;
  }

  /** @throws Error when the pack cannot be loaded, prints no port in time or ends before it does, with what it wrote to
   *  standard error; its process is ended then */
  static async start({ pack = PACK_DIR, startMs = 30_000, signal }: PackOptions = {}): Promise<PackProcess> {
    signal?.throwIfAborted();
    const child = new Pack(pack);
    try {
      return new PackProcess(child, await child.port(startMs, signal));
    } catch (error) {
      await child.end();
      throw error;
    }
  }

  /** Process id. */
  get pid(): number | undefined {
    return this.child.pid;
  }

  /** How the process ended and what it wrote to standard error, as a clause for an error; undefined while it runs.
   *  Waits a moment: a closed connection is seen before the end of the process is. */
  async failure(): Promise<string | undefined> {
    await Promise.race([this.child.ended, sleep(1000, undefined, { ref: false })]);
    return this.child.how === undefined ? undefined : `${this.child.how}${this.child.wrote}`;
  }

  /** What the pack has written to standard error, as a clause for an error. */
  get wrote(): string {
    return this.child.wrote;
  }

  /** Ends the process. The pack keeps nothing that would have to be closed, and may hang: it is not asked. */
  end(): Promise<void> {
    return this.child.end();
  }
}

class Pack {
  /** Settles when the process is gone. */
  readonly ended: Promise<void>;
  /** How it ended; undefined while it runs. */
  how: string | undefined;
  private stderr = "";
  private readonly child: ChildProcessByStdio<Writable, Readable, Readable>;
  private readonly kill = () => void this.child.kill("SIGKILL");

  constructor(pack: string) {
    const main = createRequire(import.meta.url).resolve("@pulumi/pulumi/cmd/run-policy-pack");
    const watch = pathToFileURL(join(import.meta.dirname, "end-with-parent.mjs")).href;
    this.child = spawn(process.execPath, ["--import", watch, main, NO_ENGINE, pack], {
      cwd: pack,
      stdio: ["pipe", "pipe", "pipe"],
    });
    this.child.stdin.on("error", () => {});
    this.child.stderr.setEncoding("utf8").on("data", (text: string) => {
      this.stderr = (this.stderr + text).slice(-STDERR_CHARS);
    });
    this.ended = new Promise((resolve) => {
      this.child.once("error", (error) => {
        this.how ??= `could not be run: ${error.message}`;
        resolve();
      });
      // "close" comes after the last of standard error, "exit" may not.
      this.child.once("close", (code, signal) => {
        this.how ??= signal ? `ended by ${signal}` : `ended with status ${code}`;
        resolve();
      });
    });
    process.once("exit", this.kill);
    void this.ended.then(() => process.off("exit", this.kill));
  }

  get pid(): number | undefined {
    return this.child.pid;
  }

  get wrote(): string {
    const text = this.stderr.trim();
    return text === "" ? "" : `; it wrote:\n${text}`;
  }

  async port(limitMs: number, signal: AbortSignal | undefined): Promise<number> {
    const late = new AbortController();
    const failed = async (what: string): Promise<never> => {
      throw new Error(`the policy pack ${what}${this.wrote}`);
    };
    try {
      return await Promise.race([
        this.firstLine().then((line) => {
          if (/^\d{1,5}$/.test(line)) return Number(line);
          return failed(`printed ${JSON.stringify(line)} where its port was expected`);
        }),
        this.ended.then(() => failed(`${this.how} before it was ready`)),
        sleep(limitMs, undefined, { signal: late.signal }).then(() => failed(`was not ready within ${limitMs} ms`)),
        ...(signal ? [once(signal, "abort", { signal: late.signal }).then(() => failed("was stopped"))] : []),
      ]);
    } finally {
      late.abort();
    }
  }

  /** The first line of standard output; never settles when there is none. What comes after it is not read by anybody,
   *  but has to go somewhere. */
  private firstLine(): Promise<string> {
    return new Promise((resolve) => {
      let text = "";
      this.child.stdout.setEncoding("utf8").on("data", (more: string) => {
        if (text.length >= PORT_LINE_CHARS) return;
        text += more;
        const end = text.indexOf("\n");
        if (end >= 0) resolve(text.slice(0, Math.min(end, PORT_LINE_CHARS)).trim());
        else if (text.length >= PORT_LINE_CHARS) resolve(text.slice(0, PORT_LINE_CHARS));
      });
    });
  }

  async end(): Promise<void> {
    this.kill();
    await Promise.race([this.ended, sleep(END_MS, undefined, { ref: false })]);
  }
}

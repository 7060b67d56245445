import { createHash } from "node:crypto";
import { mkdir, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Logger } from "pino";
import type { DnsSidecarConfig } from "../core/dns-sidecar-config.ts";
import { decideSource, type Source, type SourceSight, type SourceState } from "../core/dns-source.ts";
import { admits } from "./witness.ts";

/** Name of the file that CoreDNS includes. */
export const SOURCE_FILE = "witness.conf";

interface Secrets {
  readonly password: string;
  readonly ca: Buffer;
  readonly cert: Buffer;
  readonly key: Buffer;
}

/** Gives CoreDNS its way to the witness as soon as that lets it in, and a new one when password or certificate have been
 *  renewed. What it gave stands in the folder: a restart goes on from there. */
export class SourceKeeper {
  readonly #config: DnsSidecarConfig;
  readonly #log: Logger;
  #state: SourceState = { given: undefined, refusals: 0, gone: 0 };
  #admitted: boolean | undefined;
  #endedAt = performance.now();

  constructor(config: DnsSidecarConfig, log: Logger) {
    this.#config = config;
    this.#log = log;
  }

  /** Whether the loop goes round. Says nothing of the witness. */
  get alive(): boolean {
    const { pollMillis, callTimeoutMillis, witness } = this.#config;
    return performance.now() - this.#endedAt < 10_000 + 3 * pollMillis + (witness.length + 3) * callTimeoutMillis;
  }

  /** Runs until aborted. Errors of single looks are logged and the loop goes on. */
  async run(signal: AbortSignal): Promise<void> {
    this.#state = { ...this.#state, given: await this.#found() };
    while (!signal.aborted) {
      try {
        await this.once(signal);
      } catch (error) {
        if (!signal.aborted) this.#log.error({ event: "look-failed", err: error }, "CoreDNS could not be looked after");
      }
      this.#endedAt = performance.now();
      await sleep(this.#config.pollMillis, undefined, { signal }).catch(() => {});
    }
  }

  /** One look and what follows from it.
   *  @throws Error when a file cannot be read or written; the next look tries again */
  async once(signal: AbortSignal): Promise<void> {
    const secrets = await this.#secrets();
    const [admitted, coredns, refusals] = await Promise.all([
      admits(this.#config, secrets, signal),
      this.#coredns(signal),
      this.#refusals(signal),
    ]);
    if (signal.aborted) return;
    if (admitted !== this.#admitted)
      this.#log.info(
        { event: "witness", admitted },
        admitted ? "the witness lets us in" : "the witness lets nobody in",
      );
    this.#admitted = admitted;
    const { action, next } = decideSource(this.#state, {
      fingerprint: this.#fingerprint(secrets),
      admitted,
      coredns,
      refusals,
    });
    if (action === "give") await this.#give(next.given!, secrets);
    if (action === "take") await this.#take();
    this.#state = next;
  }

  async #secrets(): Promise<Secrets> {
    const { tls, passwordFile } = this.#config;
    const [password, ca, cert, key] = await Promise.all([
      readFile(passwordFile, "utf8"),
      ...[tls.caFile, tls.certFile, tls.keyFile].map((file) => readFile(file)),
    ]);
    // It goes into a Corefile, in which other signs could mean more.
    if (!/^[A-Za-z0-9_-]+$/.test(password)) throw new Error(`${passwordFile} holds no password that can be used`);
    return { password, ca: ca!, cert: cert!, key: key! };
  }

  #fingerprint({ password, ca, cert, key }: Secrets): string {
    const hash = createHash("sha256");
    for (const part of [password, ca, cert, key, this.#config.witness.join(), this.#config.user]) {
      hash.update(String(part.length)).update(":").update(part);
    }
    return hash.digest("hex").slice(0, 16);
  }

  async #coredns(signal: AbortSignal): Promise<SourceSight["coredns"]> {
    try {
      await this.#fetch(this.#config.coredns.health, signal);
      return "up";
    } catch (error) {
      return (error as { cause?: { code?: string } }).cause?.code === "ECONNREFUSED" ? "gone" : "unknown";
    }
  }

  async #refusals(signal: AbortSignal): Promise<number | undefined> {
    try {
      const text = await this.#fetch(this.#config.coredns.metrics, signal);
      return Number(/^coredns_reload_failed_total (\S+)$/m.exec(text)?.[1] ?? 0);
    } catch {
      return undefined;
    }
  }

  async #fetch(url: string, signal: AbortSignal): Promise<string> {
    const limit = AbortSignal.timeout(this.#config.callTimeoutMillis);
    return (await fetch(url, { signal: AbortSignal.any([signal, limit]) })).text();
  }

  /** Certificates in a folder of their own for each try: CoreDNS takes a configuration for a new one by its text. */
  async #give({ fingerprint, attempt }: Source, secrets: Secrets): Promise<void> {
    const { folder, witness, user } = this.#config;
    const name = `tls-${fingerprint}-${attempt}`;
    const tls = join(folder, name);
    await mkdir(tls, { recursive: true, mode: 0o700 });
    const files = { "tls.crt": secrets.cert, "tls.key": secrets.key, "ca.crt": secrets.ca };
    for (const [file, content] of Object.entries(files)) await writeFile(join(tls, file), content, { mode: 0o400 });
    const text = `etcd {
    path /skydns
    endpoint ${witness.join(" ")}
    tls ${tls}/tls.crt ${tls}/tls.key ${tls}/ca.crt
    credentials ${user} ${secrets.password}
}
`;
    const file = join(folder, SOURCE_FILE);
    await rm(`${file}.new`, { force: true });
    await writeFile(`${file}.new`, text, { mode: 0o400 });
    await rename(`${file}.new`, file);
    await this.#tidy(name);
    this.#log.info({ event: "given", fingerprint, attempt }, "CoreDNS is given its way to the witness");
  }

  async #take(): Promise<void> {
    await rm(join(this.#config.folder, SOURCE_FILE), { force: true });
    await this.#tidy(undefined);
    this.#log.warn({ event: "taken" }, "CoreDNS does not start without the witness: it may start without its names");
  }

  /** Removes certificates of earlier tries: CoreDNS holds what it read. */
  async #tidy(keep: string | undefined): Promise<void> {
    for (const name of await readdir(this.#config.folder)) {
      if (name.startsWith("tls-") && name !== keep)
        await rm(join(this.#config.folder, name), { recursive: true, force: true });
    }
  }

  async #found(): Promise<Source | undefined> {
    const text = await readFile(join(this.#config.folder, SOURCE_FILE), "utf8").catch(() => "");
    const [, fingerprint, attempt] = /\/tls-([0-9a-f]{16})-([0-9]+)\/tls\.crt /.exec(text) ?? [];
    return fingerprint === undefined ? undefined : { fingerprint, attempt: Number(attempt) };
  }
}

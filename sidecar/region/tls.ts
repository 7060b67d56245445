import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { Agent } from "node:https";
import type { LookupFunction } from "node:net";
import type { RegionConfig } from "../core/region-config.ts";

/** How long files are taken as unchanged, in milliseconds. */
const FRESH_MILLIS = 5000;
/** How long connections under a replaced certificate may still be used, in milliseconds: longer than any call. */
const RETIRE_MILLIS = 30_000;
/** Connections to one address that are kept at most. */
const MAX_SOCKETS = 16;

export interface TlsMaterial {
  readonly ca: Buffer;
  readonly cert: Buffer;
  readonly key: Buffer;
}

/** The controller's certificate, as client and as server. Files are read anew when they are a few seconds old, so that a
 *  renewed certificate is shown soon after the kubelet has brought it. */
export class TlsFiles {
  readonly #files: RegionConfig["tls"];
  readonly #lookup: LookupFunction | undefined;
  #readAt = -Infinity;
  #digest = "";
  #material: TlsMaterial | undefined;
  #agent: Agent | undefined;

  /** @param lookup resolves names in place of the machine's resolver */
  constructor(files: RegionConfig["tls"], lookup?: LookupFunction) {
    this.#files = files;
    this.#lookup = lookup;
  }

  get lookup(): LookupFunction | undefined {
    return this.#lookup;
  }

  /** @throws when the files cannot be read and never could be; otherwise what was read last goes on */
  async material(): Promise<TlsMaterial> {
    const now = performance.now();
    if (this.#material && now - this.#readAt < FRESH_MILLIS) return this.#material;
    try {
      const [ca, cert, key] = await Promise.all(
        [this.#files.caFile, this.#files.certFile, this.#files.keyFile].map((file) => readFile(file)),
      );
      const digest = createHash("sha256").update(ca!).update(cert!).update(key!).digest("hex");
      if (digest !== this.#digest) {
        this.#digest = digest;
        this.#material = { ca: ca!, cert: cert!, key: key! };
        // New connections show the new certificate; calls in flight end on the old ones.
        const old = this.#agent;
        if (old) setTimeout(() => old.destroy(), RETIRE_MILLIS).unref();
        this.#agent = undefined;
      }
    } catch (error) {
      if (!this.#material) throw error;
    }
    this.#readAt = now;
    return this.#material!;
  }

  /** An agent that shows the certificate and keeps connections. */
  async agent(): Promise<Agent> {
    const material = await this.material();
    this.#agent ??= new Agent({
      ...material,
      keepAlive: true,
      maxSockets: MAX_SOCKETS,
      minVersion: "TLSv1.2",
      ...(this.#lookup ? { lookup: this.#lookup } : {}),
    });
    return this.#agent;
  }

  close(): void {
    this.#agent?.destroy();
    this.#agent = undefined;
  }
}

/** A secret in a file, without the line end that editors leave. */
export async function readSecret(file: string): Promise<string> {
  return (await readFile(file, "utf8")).trim();
}

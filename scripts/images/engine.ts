/**
 * The build engine: buildah, as root, with storage of its own in the cache. `chroot` isolation needs neither a
 * container runtime nor cgroups, so it works inside a container or a small VM too.
 */
import { mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { hostApt } from "./apt.ts";
import type { Base } from "./base.ts";
import type { CachePaths } from "./cache.ts";
import { CommandError, run } from "./run.ts";
import { BASE_SUITE, SOURCE_DATE_EPOCH } from "./specs.ts";

export interface BuildRequest {
  /** The context folder, with its Containerfile. */
  context: string;
  reference: string;
  buildArgs: Record<string, string>;
}

const BUILD_TIMEOUT_MS = 20 * 60_000;
const SHORT_TIMEOUT_MS = 5 * 60_000;

/** The host's certificates, for mirrors that are asked over https. */
const HOST_CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt";

export class Engine {
  readonly #paths: CachePaths;
  readonly #signal: AbortSignal | undefined;
  #storage: [driver: string, folder: string] | undefined;

  constructor(paths: CachePaths, signal: AbortSignal | undefined) {
    this.#paths = paths;
    this.#signal = signal;
  }

  /**
   * Makes the storage fit for use: overlay where the file system can carry it, else vfs (copies: slower and larger).
   * Working containers of a build that was killed are removed; storage that can't be read is made anew, as
   * everything in it can be.
   */
  async open(): Promise<void> {
    for (const driver of ["overlay", "vfs"]) {
      this.#storage = [driver, join(this.#paths.storage, driver)];
      try {
        await this.#buildah(["rm", "--all"], SHORT_TIMEOUT_MS);
        return;
      } catch (error) {
        this.#signal?.throwIfAborted();
        if (!(error instanceof CommandError)) throw error;
        if (driver === "overlay" && !/overlay.*(?:not supported|mount_program)/i.test(error.tail)) {
          await this.#discard();
          if (await this.#works()) return;
        } else if (driver === "vfs") throw error;
      }
    }
  }

  async #works(): Promise<boolean> {
    return this.#buildah(["images", "--quiet"], SHORT_TIMEOUT_MS).then(
      () => true,
      () => false,
    );
  }

  async #discard(): Promise<void> {
    await this.#buildah(["umount", "--all"], SHORT_TIMEOUT_MS).catch(() => undefined);
    const [, folder] = this.#opened();
    await rm(folder, { recursive: true, force: true });
    await rm(this.#paths.runroot, { recursive: true, force: true });
    await mkdir(this.#paths.runroot, { recursive: true, mode: 0o700 });
  }

  /** Whether the storage has an image of this name. */
  async has(reference: string): Promise<boolean> {
    return this.#buildah(
      ["inspect", "--type", "image", "--format", "{{.FromImageID}}", reference],
      SHORT_TIMEOUT_MS,
    ).then(
      () => true,
      () => false,
    );
  }

  /** Puts the base into the storage; gives its reference there. */
  async importBase(base: Base): Promise<string> {
    const reference = `localhost/iam-ha/debian:${BASE_SUITE}-${base.id.slice(0, 12)}`;
    if (await this.has(reference)) return reference;
    const container = (await this.#buildah(["from", "scratch"], SHORT_TIMEOUT_MS)).trim();
    await this.#buildah(["add", "--quiet", container, base.tar, "/"], SHORT_TIMEOUT_MS);
    await this.#buildah(
      [
        "config",
        "--cmd",
        "bash",
        "--env",
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        container,
      ],
      SHORT_TIMEOUT_MS,
    );
    await this.#buildah(
      ["commit", "--quiet", "--rm", "--timestamp", String(SOURCE_DATE_EPOCH), container, reference],
      SHORT_TIMEOUT_MS,
    );
    return reference;
  }

  /** Builds an image from its Containerfile. Layers that other images or earlier builds share are taken, not made. */
  async build(request: BuildRequest, base: Base, baseReference: string, onLine: (line: string) => void): Promise<void> {
    // SOURCE_DATE_EPOCH keeps the Containerfile's own value: given here, newer engines take it for another --timestamp.
    const args = { ...request.buildArgs, BASE: baseReference };
    const argv = [
      "build",
      "--isolation=chroot",
      "--pull=never",
      "--layers",
      "--format=oci",
      "--identity-label=false",
      `--timestamp=${SOURCE_DATE_EPOCH}`,
      ...(await this.#aptMounts(base)),
      ...Object.entries(args).map(([name, value]) => `--build-arg=${name}=${value}`),
      "--file",
      join(request.context, "Containerfile"),
      "--tag",
      request.reference,
      request.context,
    ];
    await this.#buildah(argv, BUILD_TIMEOUT_MS, onLine);
  }

  /** Mounts that let apt in a build find what the host's apt finds. They exist during RUN and are in no layer. */
  async #aptMounts(base: Base): Promise<string[]> {
    const host = await hostApt(BASE_SUITE);
    const folder = join(this.#paths.work, "apt");
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const settings = [...host.settings];
    const mounts = [
      `--volume=${base.sources}:/etc/apt/sources.list:ro`,
      `--volume=${join(folder, "apt.conf")}:/etc/apt/apt.conf:ro`,
    ];
    if (host.sources.some((line) => line.includes("https:"))) {
      // The base has no certificates. Nothing of Debian's own lies in this folder, so it can be covered.
      const certificates = join(folder, "certificates");
      await mkdir(certificates, { recursive: true, mode: 0o755 });
      await run(
        [
          "cp",
          "--dereference",
          process.env["SSL_CERT_FILE"] ?? HOST_CERTIFICATES,
          join(certificates, "host-ca.disabled"),
        ],
        { timeoutMs: SHORT_TIMEOUT_MS },
      );
      settings.push('Acquire::https::CAInfo "/etc/apt/auth.conf.d/host-ca.disabled";');
      mounts.push(`--volume=${certificates}:/etc/apt/auth.conf.d:ro`);
    }
    await writeFile(join(folder, "apt.conf"), `${settings.join("\n")}\n`, { mode: 0o644 });
    return mounts;
  }

  /** Writes an image as a docker archive; its reference is in it. */
  async export(reference: string, file: string): Promise<void> {
    await this.#buildah(["push", "--quiet", reference, `docker-archive:${file}:${reference}`], SHORT_TIMEOUT_MS);
  }

  /** References of all images in the storage, and of the layers only the cache holds: none of those. */
  async references(): Promise<string[]> {
    const out = await this.#buildah(
      ["images", "--filter", "dangling=false", "--format", "{{.Name}}:{{.Tag}}"],
      SHORT_TIMEOUT_MS,
    );
    return out.split("\n").filter((line) => line !== "");
  }

  /** Removes images, and the layers nothing else uses. */
  async remove(references: readonly string[]): Promise<void> {
    if (references.length > 0) await this.#buildah(["rmi", "--force", ...references], SHORT_TIMEOUT_MS);
  }

  #opened(): [driver: string, folder: string] {
    if (this.#storage === undefined) throw new Error("the build engine is used before it was opened");
    return this.#storage;
  }

  async #buildah(argv: string[], timeoutMs: number, onLine?: (line: string) => void): Promise<string> {
    const [driver, folder] = this.#opened();
    // Settings the machine's own containers use stay out of this: neither its storage nor its defaults are touched.
    const conf = join(this.#paths.work, "storage.conf");
    await mkdir(this.#paths.work, { recursive: true, mode: 0o700 });
    await writeFile(
      conf,
      `[storage]\ndriver = "${driver}"\ngraphroot = "${folder}"\nrunroot = "${this.#paths.runroot}"\n`,
      { mode: 0o600 },
    );
    const env: NodeJS.ProcessEnv = { CONTAINERS_STORAGE_CONF: conf, TMPDIR: this.#paths.work };
    for (const [name, value] of Object.entries(process.env)) {
      if (!/^(?:STORAGE_|BUILDAH_|CONTAINERS_|_CONTAINERS_|TMPDIR$|SOURCE_DATE_EPOCH$)/.test(name)) env[name] = value;
    }
    return run(["buildah", "--root", folder, "--runroot", this.#paths.runroot, "--storage-driver", driver, ...argv], {
      timeoutMs,
      signal: this.#signal,
      contained: true,
      env,
      ...(onLine ? { onLine } : {}),
    });
  }
}

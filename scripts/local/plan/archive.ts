import { createHash } from "node:crypto";

/** One file or folder of a tar archive; owner root, time 0. */
export interface TarEntry {
  /** Path without a leading slash, at most 100 bytes; a folder's ends with a slash. */
  readonly path: string;
  readonly mode: number;
  readonly content?: Buffer;
}

const BLOCK = 512;

/** A tar archive (ustar). The same entries always give the same bytes. */
export function tar(entries: readonly TarEntry[]): Buffer {
  const blocks = entries.flatMap(({ path, mode, content = Buffer.alloc(0) }) => [
    tarHeader(path, mode, content.length),
    content,
    Buffer.alloc((BLOCK - (content.length % BLOCK)) % BLOCK),
  ]);
  return Buffer.concat([...blocks, Buffer.alloc(2 * BLOCK)]);
}

function tarHeader(path: string, mode: number, size: number): Buffer {
  if (Buffer.byteLength(path) > 100) throw new RangeError(`${path} is too long for a tar archive's name field.`);
  const header = Buffer.alloc(BLOCK);
  const octal = (value: number, width: number) => `${value.toString(8).padStart(width - 1, "0")}\0`;
  header.write(path, 0);
  header.write(octal(mode, 8), 100);
  header.write(octal(0, 8), 108); // owner
  header.write(octal(0, 8), 116); // group
  header.write(octal(size, 12), 124);
  header.write(octal(0, 12), 136); // time
  header.write(" ".repeat(8), 148); // the checksum counts its own field as blanks
  header.write(path.endsWith("/") ? "5" : "0", 156);
  header.write("ustar\0" + "00", 257);
  const sum = header.reduce((a, b) => a + b, 0);
  header.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
  return header;
}

/** An image of one layer with one program in it, as `docker save` would write it. */
export function programImage(image: {
  readonly reference: string;
  readonly path: string;
  readonly program: Buffer;
  readonly user: string;
}): Buffer {
  const layer = tar([{ path: image.path.replace(/^\//, ""), mode: 0o755, content: image.program }]);
  // Imports at the same time take equal names for the same layer.
  const layerName = `${sha256(layer)}.tar`;
  const config = JSON.stringify({
    architecture: "amd64",
    os: "linux",
    created: "1970-01-01T00:00:00Z",
    config: { Entrypoint: [image.path], User: image.user, WorkingDir: "/" },
    rootfs: { type: "layers", diff_ids: [`sha256:${sha256(layer)}`] },
  });
  const configName = `${sha256(Buffer.from(config))}.json`;
  const manifest = [{ Config: configName, RepoTags: [image.reference], Layers: [layerName] }];
  return tar([
    { path: configName, mode: 0o644, content: Buffer.from(config) },
    { path: layerName, mode: 0o644, content: layer },
    { path: "manifest.json", mode: 0o644, content: Buffer.from(JSON.stringify(manifest)) },
  ]);
}

function sha256(content: Buffer): string {
  return createHash("sha256").update(content).digest("hex");
}

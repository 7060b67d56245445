import { closeSync, fsyncSync, openSync, renameSync, rmSync, writeSync } from "node:fs";

/** Writes a file that only its owner may read (0600). Written aside and renamed, so that it is there whole or not at
 *  all, whenever the process ends. */
export function writePrivate(file: string, text: string): void {
  const aside = `${file}.${process.pid}.new`;
  const fd = openSync(aside, "w", 0o600);
  try {
    writeSync(fd, text);
    fsyncSync(fd);
  } catch (error) {
    rmSync(aside, { force: true });
    throw error;
  } finally {
    closeSync(fd);
  }
  renameSync(aside, file);
}

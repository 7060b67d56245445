import { planInstance } from "../../scripts/local/plan/instance.ts";
import { ensureScanners, type Scanners } from "../../scripts/scanners/programs.ts";

/** Milliseconds for a first build, where a file is run by itself. */
export const BUILD_LIMIT = 10 * 60_000;

/** The scanners; built before the layer runs, and found in the cache then. */
export async function builtScanners(): Promise<Scanners> {
  return ensureScanners({ cache: planInstance(process.env).cache });
}

import { runChecks } from "../test/checks.ts";
import { type Layer, LAYERS } from "../test/layers.ts";
import { finish, prepare } from "../test/prepare.ts";
import { runLayer, type Counts } from "../test/run-layer.ts";

/** Runs the named layers, or all: `check` (types, lint, format, generated files), then mocha's. The last line is
 *  `N passed, N failed`; the exit status says the same. */
export async function test(names: readonly string[]): Promise<void> {
  const known = ["check", ...LAYERS.map((layer) => layer.name)];
  for (const name of names)
    if (!known.includes(name)) throw new Error(`found "${name}"; layers are ${known.join(", ")}`);
  const wanted = names.length > 0 ? names : known;
  const total: Counts = { passed: 0, failed: 0, skipped: 0 };
  const started = Date.now();
  const abort = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"] as const)
    process.once(signal, () => abort.abort(new Error(`ended by ${signal}`)));

  if (wanted.includes("check")) add(total, await runChecks(abort.signal));
  try {
    for (const layer of LAYERS.filter(({ name }) => wanted.includes(name))) {
      if (abort.signal.aborted) break;
      heading(`${layer.name}: ${layer.what}`, started);
      if (await prepared(layer, abort.signal)) add(total, await runLayer(layer, abort.signal));
      else total.failed += 1;
    }
  } finally {
    await finish();
  }
  if (abort.signal.aborted) total.failed += 1;
  heading("done", started);
  const skipped = total.skipped > 0 ? `, ${total.skipped} skipped` : "";
  process.stdout.write(`${total.passed} passed, ${total.failed} failed${skipped}\n`);
  process.exitCode = total.failed > 0 || total.passed === 0 ? 1 : 0;
}

/** Whether what a layer needs is there; says why where it is not. */
async function prepared(layer: Layer, signal: AbortSignal): Promise<boolean> {
  try {
    await prepare(layer.needs, signal);
    return true;
  } catch (error) {
    process.stdout.write(`  could not prepare: ${error instanceof Error ? error.message : String(error)}\n`);
    return false;
  }
}

function add(total: Counts, counts: Counts): void {
  total.passed += counts.passed;
  total.failed += counts.failed;
  total.skipped += counts.skipped;
}

function heading(text: string, started: number): void {
  const seconds = Math.round((Date.now() - started) / 1000);
  process.stdout.write(`\n== [${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}] ${text}\n`);
}

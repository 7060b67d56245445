import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";

/** Pause between two looks, in milliseconds. */
const INTERVAL_MS = 2000;

export interface WatchOptions<T> {
  readonly read: (signal: AbortSignal) => Promise<T>;
  readonly text: (value: T) => string;
  /** What has to change for a new text to be printed where there is no terminal. */
  readonly gist: (value: T) => string;
}

/** Shows something live until it is interrupted: drawn in place on a terminal, also when its size changes; elsewhere
 *  printed anew when it has changed.
 *  @returns what was seen last */
export async function watch<T>({ read, text, gist }: WatchOptions<T>): Promise<T | undefined> {
  const abort = new AbortController();
  const end = () => abort.abort();
  const screen = process.stdout.isTTY ? new Screen() : undefined;
  process.on("SIGINT", end).on("SIGTERM", end);
  let last: T | undefined;
  let printed = "";
  try {
    screen?.open();
    while (!abort.signal.aborted) {
      const begun = Date.now();
      try {
        last = await read(abort.signal);
      } catch (error) {
        if (!abort.signal.aborted) throw error;
        break;
      }
      if (abort.signal.aborted) break;
      const now = new Date().toISOString().replace("T", " ").slice(0, 19);
      if (screen) screen.draw(`${now} UTC, every ${INTERVAL_MS / 1000} s; Ctrl-C ends\n\n${text(last)}`);
      else if (gist(last) !== printed) {
        printed = gist(last);
        await write(`${now} UTC\n${text(last)}\n\n`);
      }
      await sleep(Math.max(0, INTERVAL_MS - (Date.now() - begun)), undefined, { signal: abort.signal }).catch(() => {});
    }
  } finally {
    screen?.close();
    process.off("SIGINT", end).off("SIGTERM", end);
  }
  // What was drawn is gone with the screen: the last of it stays.
  if (screen && last !== undefined) await write(`${text(last)}\n`);
  return last;
}

async function write(text: string): Promise<void> {
  if (!process.stdout.write(text)) await once(process.stdout, "drain");
}

/** As many of the lines as fit; when some do not, the last line that does says how many. */
export function fit(text: string, rows: number): string[] {
  const lines = text.split("\n");
  if (lines.length <= rows) return lines;
  const shown = lines.slice(0, Math.max(0, rows - 1));
  return [...shown, `… ${lines.length - shown.length} more lines: a taller window shows them`].slice(0, rows);
}

/** The terminal's second screen, so that what was on the first one is there again afterwards. Lines that are too long are
 *  cut by the terminal and not wrapped. */
class Screen {
  #text = "";
  readonly #redraw = () => this.draw(this.#text);

  open(): void {
    process.stdout.write("\x1b[?1049h\x1b[?25l\x1b[?7l");
    process.stdout.on("resize", this.#redraw);
  }

  draw(text: string): void {
    this.#text = text;
    const lines = fit(text, process.stdout.rows || 24);
    process.stdout.write(`\x1b[H${lines.map((line) => `${line}\x1b[K`).join("\n")}\x1b[J`);
  }

  close(): void {
    process.stdout.off("resize", this.#redraw);
    process.stdout.write("\x1b[?7h\x1b[?25h\x1b[?1049l");
  }
}

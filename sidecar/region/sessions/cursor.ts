import { z } from "zod";
import { keySlot } from "../../core/redis-slots.ts";
import { cursor, CURSOR_PREFIX, type Cursor } from "../../core/session-protocol.ts";
import type { SessionCluster } from "./cluster.ts";

const KEY = `${CURSOR_PREFIX}sessions`;
const SLOT = keySlot(KEY);
const stored = z.object({ owner: z.string(), cursor: cursor.optional() });

/** How far the copying is, in the local Redis: a restarted controller goes on there. One for all sources, so that none
 *  outlives a change of the source. It also says which controller of the region copies: one that has been replaced finds
 *  that out before it writes. */
export class CursorStore {
  readonly #cluster: SessionCluster;
  readonly #owner: string;
  #claimed = false;

  constructor(cluster: SessionCluster, owner: string) {
    this.#cluster = cluster;
    this.#owner = owner;
  }

  /** Claims the cursor at the first time; after that it is only read.
   *  @returns undefined when there is none, or when another controller has copied meanwhile: it may have written older
   *  values after newer ones, so that everything is to be copied again */
  async load(): Promise<Cursor | undefined> {
    const known = await this.#read();
    if (this.#claimed && known?.owner === this.#owner) return known.cursor;
    const goOn = this.#claimed ? undefined : known?.cursor;
    await this.#write(goOn);
    this.#claimed = true;
    return goOn;
  }

  /** @throws when another controller of the region copies by now */
  async mind(): Promise<void> {
    const known = await this.#read();
    if (known?.owner !== this.#owner) throw new Error("another controller of this region copies sessions by now");
  }

  save(position: Cursor): Promise<void> {
    return this.#write(position);
  }

  /** Copying rests: the next time the cursor is claimed anew. */
  release(): void {
    this.#claimed = false;
  }

  async #read(): Promise<z.infer<typeof stored> | undefined> {
    const text = (await this.#cluster.clientOf(SLOT).call("GET", KEY)) as string | null;
    if (text === null) return undefined;
    try {
      return stored.parse(JSON.parse(text));
    } catch {
      // Written by another version: the same as none.
      return undefined;
    }
  }

  async #write(position: Cursor | undefined): Promise<void> {
    const value = JSON.stringify({ owner: this.#owner, ...(position ? { cursor: position } : {}) });
    await this.#cluster.clientOf(SLOT).call("SET", KEY, value);
  }
}

import { z } from "zod";
import { COMPONENTS } from "../../components/common/names.ts";
import { REGION_FILE } from "./controller.ts";
import { jsonAs } from "./parsed.ts";
import { CannotJudge, type Resource, type Stack } from "./stack.ts";

const shape = z.looseObject({
  region: z.string().min(1),
  regions: z.record(z.string(), z.looseObject({ slot: z.string().min(1) })),
});

/** Another region. */
export interface Peer {
  readonly name: string;
  /** Replication slot that its database streams from, wherever that is. */
  readonly slot: string;
}

/** The regions of the platform, as this one's controller knows them. */
export interface Topology {
  readonly resource: Resource;
  /** Region of the stack. */
  readonly region: string;
  readonly peers: readonly Peer[];
}

/** The regions of the platform.
 *  @throws CannotJudge when the stack does not tell */
export function topologyOf(stack: Stack): Topology {
  const { resource, text } = stack.file(COMPONENTS.regionController, REGION_FILE);
  const where = `data["${REGION_FILE}"]`;
  const { region, regions } = jsonAs(shape, text, where);
  if (!(region in regions)) throw new CannotJudge(`${where} regions: the region itself, ${region}, is not among them`);
  const peers = Object.entries(regions)
    .filter(([name]) => name !== region)
    .map(([name, { slot }]) => ({ name, slot }));
  return { resource, region, peers };
}

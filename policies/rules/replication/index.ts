import type { Rule } from "../../rule.ts";
import { failsafeMode } from "./failsafe-mode.ts";
import { patroniTiming } from "./patroni-timing.ts";
import { postgresDurability } from "./postgres-durability.ts";
import { postgresReplicas } from "./postgres-replicas.ts";
import { redisDurability } from "./redis-durability.ts";
import { redisNodeTimeout } from "./redis-node-timeout.ts";
import { redisOneRegion } from "./redis-one-region.ts";
import { redisSize } from "./redis-size.ts";
import { rewindReady } from "./rewind-ready.ts";
import { slotWalBounded } from "./slot-wal-bounded.ts";
import { slotsForPeers } from "./slots-for-peers.ts";
import { synchronousMode } from "./synchronous-mode.ts";
import { walSettings } from "./wal-settings.ts";

/** Copies of the data inside a region and between regions, §5.2.1 and §5.3.1. */
export const replicationRules: readonly Rule[] = [
  postgresReplicas,
  slotsForPeers,
  walSettings,
  synchronousMode,
  patroniTiming,
  failsafeMode,
  slotWalBounded,
  postgresDurability,
  rewindReady,
  redisSize,
  redisNodeTimeout,
  redisDurability,
  redisOneRegion,
];

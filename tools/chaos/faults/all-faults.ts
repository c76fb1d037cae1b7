import type { FaultKind } from "../fault.ts";
import { arbiterDown } from "./arbiter-down.ts";
import { bitRot } from "./bit-rot.ts";
import { clockJump } from "./clock-jump.ts";
import { crashLoop } from "./crash-loop.ts";
import { diskLost } from "./disk-lost.ts";
import { fsyncFails, slowDisk, stuckDisk } from "./disk.ts";
import { diskFull } from "./disk-full.ts";
import { flicker } from "./flicker.ts";
import { kill } from "./kill.ts";
import { largePackets, packetLoss } from "./packets.ts";
import { bridge, flapping, isolateLeader, minority, mute, oneWay, shards } from "./partition.ts";
import { pause } from "./pause.ts";
import { blackout, powerCut } from "./power-cut.ts";
import { reset } from "./reset.ts";
import { restartAll } from "./restart-all.ts";
import { arbiterSilent, storeSilent } from "./silent-service.ts";
import { slowLink } from "./slow-link.ts";
import { slowPeer } from "./slow-peer.ts";
import { sqlDown } from "./sql-down.ts";
import { storeDown } from "./store-down.ts";

/** Every kind, in the order of `--list`. */
export const FAULTS: readonly FaultKind[] = [
  kill, crashLoop, pause, flicker, restartAll,
  isolateLeader, minority, bridge, shards, oneWay, mute, flapping,
  largePackets, packetLoss, reset, slowLink, slowPeer,
  clockJump, diskFull, fsyncFails, slowDisk, stuckDisk, powerCut, blackout, bitRot, diskLost,
  arbiterDown, arbiterSilent, storeDown, storeSilent, sqlDown,
];

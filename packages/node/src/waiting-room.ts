// A node that has no place in the cluster yet. It answers who it is, and waits for a member to tell it its node id: that is
// how it knows that it was taken in, and finds the others.
import { type IdentifyResponse, MeshError, type StreamRequest } from "@statemesh/contract";
import type { Disk } from "@statemesh/ports";
import type { VersionRange } from "@statemesh/replica";
import { type FolderRecord, takePlace } from "./identity.ts";
import { checkKinship } from "./peer-door.ts";

export interface WaitingOptions {
  readonly leaseReads: boolean;
  readonly versions: VersionRange;
}

export interface WaitingEvents {
  /** The folder has a node id from now on: start the node. */
  placed(nodeId: number): void;
  /** The place could not be written down. */
  failed(error: unknown): void;
}

export class WaitingRoom {
  readonly #folder: Disk;
  readonly #record: FolderRecord;
  readonly #options: WaitingOptions;
  readonly #events: WaitingEvents;
  #placed = false;

  constructor(folder: Disk, record: FolderRecord, options: WaitingOptions, events: WaitingEvents) {
    this.#folder = folder;
    this.#record = record;
    this.#options = options;
    this.#events = events;
  }

  identify(): IdentifyResponse {
    return identityOf(this.#record, this.#options);
  }

  /** A stream that a peer opened. Nobody is let in; a member's hello may hold the place of this node. */
  stream(): (frame: StreamRequest) => number | undefined {
    return ({ hello }) => {
      if (hello === undefined) throw new MeshError("PEER_REFUSED", "the first frame of a peer stream says hello");
      checkKinship(hello, { ...this.#record, ...this.#options });
      const place = hello.founded ? hello.members.find(({ folderId }) => folderId === this.#record.folderId) : undefined;
      if (place === undefined) throw new MeshError("PEER_REFUSED", "this node has no place in the cluster yet: AddMember or ReplaceMember gives it one");
      if (!this.#placed) {
        this.#placed = true;
        takePlace(this.#folder, this.#record, place.nodeId, hello.members).then(
          () => this.#events.placed(place.nodeId),
          (error: unknown) => this.#events.failed(error),
        );
      }
      throw new MeshError("PEER_REFUSED", `this node takes its place as node ${place.nodeId}: try again`);
    };
  }
}

/** Who answers for a folder. */
export function identityOf({ clusterId, nodeId, folderId, founded, groups, decisionWindow }: FolderRecord, { leaseReads, versions }: WaitingOptions): IdentifyResponse {
  return { clusterId, nodeId, folderId, founded, groups, decisionWindow, protocolMin: versions.min, protocolMax: versions.max, leaseReads };
}

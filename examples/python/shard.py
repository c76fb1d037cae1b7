"""A game server in Python: registers, takes a region, builds, follows it, and reads errors.

    python3 shard.py HOST:PORT[,HOST:PORT...] [STUBS]

STUBS is the folder that `buf generate` filled; default: `stubs` beside this file.
"""

import os
import sys
import time
import uuid

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, sys.argv[2] if len(sys.argv) > 2 else os.path.join(HERE, "stubs"))

from mesh import Authority, Mesh, MeshError  # noqa: E402
from statemesh.v1 import operation_pb2, space_pb2  # noqa: E402

SERVER_ID = 9201
REGION = space_pb2.Region(x=120, y=0, z=0)


def placement(lease, structure_id, min_x):
    """An operation. Its id is the idempotency key: made once, sent as often as it takes."""
    bounds = space_pb2.Bounds(min_x=min_x, min_y=0, min_z=0, max_x=min_x + 4, max_y=4, max_z=4)
    return operation_pb2.Operation(
        operation_id=str(uuid.uuid4()),
        type="structure_placement",
        server_id=SERVER_ID,
        home_region=lease.region,
        authority_epoch=lease.epoch,
        timestamp_ms=int(time.time() * 1000),
        structure_placement=operation_pb2.StructurePlacement(structure_id=structure_id, kind="hut", bounds=bounds, player_id="ann"),
    )


def main():
    mesh = Mesh(sys.argv[1].split(","))
    authority = Authority(mesh, SERVER_ID, "python-shard", lambda lease, reason: print(f"lost epoch {lease.epoch}: {reason}"))
    authority.register()
    lease = authority.acquire(REGION)
    print(f"own region_{REGION.x}_{REGION.y}_{REGION.z}")

    # A snapshot first, then every change.
    events = mesh.subscribe(regions=[REGION], strong=True)
    for message in events:
        if message.WhichOneof("event") == "snapshot" and message.snapshot.complete:
            break
    hut = f"hut-{uuid.uuid4()}"
    build = placement(lease, hut, 240_000)
    decision = mesh.execute(build)
    print(f"built: {operation_pb2.Outcome.Name(decision.outcome)} by {decision.rule}")
    for message in events:
        if any(change.entity.entity_id == hut for change in message.changes.entities):
            break
    events.close()
    print("the subscription has shown it")

    # The same id is the same decision, on any node, after any failure.
    print(f"asked again: repeated {mesh.execute(build).repeated}")
    other = placement(lease, f"{hut}-b", 240_002)
    refused = mesh.execute(other)
    print(f"over it: {operation_pb2.Outcome.Name(refused.outcome)} {refused.reason}, winner is the first: {refused.winner_operation_id == build.operation_id}")

    # Errors name the field and the rule, or say what is to be done.
    wrong = placement(lease, "", 240_100)
    try:
        mesh.execute(wrong)
    except MeshError as error:
        print(f"wrong: {error.reason} of {error.field}")
    build.structure_placement.kind = "tower"
    try:
        mesh.execute(build)
    except MeshError as error:
        print(f"other content under one id: {error.reason}")

    # The lease is renewed meanwhile; once it is given up, its epoch is worth nothing.
    time.sleep(3.5)
    print(f"after more than a lease's length: held {lease.held}")
    authority.release(lease)
    try:
        mesh.execute(placement(lease, f"{hut}-c", 240_200))
    except MeshError as error:
        print(f"after the release: {error.reason}, current epoch {error.metadata['current_epoch']}")
    authority.close()
    mesh.close()


main()

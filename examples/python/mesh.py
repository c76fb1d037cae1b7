"""A small client of StateMesh: errors with their reasons, calls that ask again, leases that renew themselves, subscriptions that go on.

What the TypeScript SDK does, in the few rules that matter. The stubs are made by `buf generate` (see docs/other-languages.md).
"""

import random
import threading
import time
import traceback

import grpc
from google.rpc import error_details_pb2, status_pb2
from statemesh.v1 import authority_pb2, authority_pb2_grpc, consistency_pb2, consistency_pb2_grpc

# Refused before anything was done: any call may ask again.
REFUSED_FOR_NOW = {"NO_QUORUM", "MINORITY_PARTITION", "NOT_LEADER", "SHUTTING_DOWN", "OVERLOADED", "QUOTA_EXCEEDED", "LOG_FULL", "STORE_UNAVAILABLE", "TOKEN_AHEAD", "TRANSACTION_PENDING", "ESCROW_NOT_READY"}
# Nobody knows what was done: only a call that may be repeated asks again, with the same ids.
OPEN = {"OUTCOME_UNKNOWN", "UNREACHABLE", "DEADLINE_EXCEEDED"}
# Another node may do better.
NODE_AT_FAULT = OPEN | {"NO_QUORUM", "MINORITY_PARTITION", "SHUTTING_DOWN"}


class MeshError(Exception):
    """An error as the mesh answered it, or what the transport's failure means."""

    def __init__(self, reason, message, metadata=None, field="", retry_delay_s=None):
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.metadata = metadata or {}
        self.field = field
        self.retry_delay_s = retry_delay_s

    @staticmethod
    def of(error, writes):
        """From a grpc.RpcError. `writes`: the call may have changed something, so a broken transport leaves its outcome open."""
        for key, value in error.trailing_metadata() or ():
            if key == "grpc-status-details-bin":
                found = MeshError._from_details(status_pb2.Status.FromString(value))
                if found is not None:
                    return found
        if error.code() == grpc.StatusCode.UNIMPLEMENTED:
            return MeshError("PEER_REFUSED", error.details())
        if writes:
            return MeshError("OUTCOME_UNKNOWN", error.details())
        name = "DEADLINE_EXCEEDED" if error.code() == grpc.StatusCode.DEADLINE_EXCEEDED else "UNREACHABLE"
        return MeshError(name, error.details())

    @staticmethod
    def _from_details(status):
        info, retry, bad = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo(), error_details_pb2.BadRequest()
        reason, delay, field = None, None, ""
        for detail in status.details:
            if detail.Unpack(info) and info.domain == "statemesh":
                reason = info.reason
            elif detail.Unpack(retry):
                delay = retry.retry_delay.seconds + retry.retry_delay.nanos / 1e9
            elif detail.Unpack(bad) and bad.field_violations:
                field = bad.field_violations[0].field
        return None if reason is None else MeshError(reason, status.message, dict(info.metadata), field, delay)


class Mesh:
    """Connections to the nodes of a mesh. Any node answers any call."""

    def __init__(self, endpoints):
        self._channels = [grpc.insecure_channel(endpoint) for endpoint in endpoints]
        self._consistency = [consistency_pb2_grpc.ConsistencyServiceStub(channel) for channel in self._channels]
        self._authority = [authority_pb2_grpc.AuthorityDirectoryServiceStub(channel) for channel in self._channels]
        self._at = 0

    def call(self, service, method, request, writes, repeatable=True, deadline_s=10.0, attempt_s=2.0):
        """Calls, and asks again (the same message, so the same ids) as long as that can help."""
        end = time.monotonic() + deadline_s
        backoff = 0.02
        unknown = None
        while True:
            at = self._at
            stub = (self._consistency if service == "consistency" else self._authority)[at]
            try:
                return getattr(stub, method)(request, timeout=max(0.001, min(attempt_s, end - time.monotonic())))
            except grpc.RpcError as thrown:
                error = MeshError.of(thrown, writes)
            if error.reason == "OUTCOME_UNKNOWN":
                unknown = error
            if error.reason not in REFUSED_FOR_NOW and not (repeatable and error.reason in OPEN):
                # A later refusal does not prove that an earlier attempt was not accepted.
                raise unknown if unknown is not None and error.reason != "OPERATION_ID_REUSED" else error
            if error.reason in NODE_AT_FAULT and self._at == at:
                self._at = (at + 1) % len(self._channels)
            wait = error.retry_delay_s * (1 + random.random() / 2) if error.retry_delay_s is not None else backoff * (0.5 + random.random() / 2)
            backoff = min(0.5, backoff * 2)
            if time.monotonic() + wait >= end:
                raise unknown or error
            time.sleep(wait)

    def execute(self, operation):
        """One decision for ever, under the operation's id."""
        return self.call("consistency", "Execute", consistency_pb2.ExecuteRequest(operation=operation), writes=True).decision

    def read(self, **request):
        return self.call("consistency", "Read", consistency_pb2.ReadRequest(**request), writes=False)

    def subscribe(self, give_up_s=60.0, **request):
        """Messages in order. A broken connection is made again, at another node, after the last message that was taken."""
        token = ""
        heard = time.monotonic()
        while True:
            at = self._at
            stream = self._consistency[at].Subscribe(consistency_pb2.SubscribeRequest(resume_token=token, **request))
            try:
                for message in stream:
                    token = message.resume_token
                    heard = time.monotonic()
                    yield message
                error = MeshError("SHUTTING_DOWN", "the server ended the stream")
            except grpc.RpcError as thrown:
                error = MeshError.of(thrown, writes=False)
            finally:
                stream.cancel()
            if error.reason == "INVALID_RESUME_TOKEN" and token != "":
                token = ""
            elif error.reason not in REFUSED_FOR_NOW | OPEN or time.monotonic() - heard > give_up_s:
                raise error
            self._at = (at + 1) % len(self._channels)
            time.sleep(0.05 * (1 + random.random()))

    def close(self):
        for channel in self._channels:
            channel.close()


class Lease:
    """The right to write a region, as long as `held` says so. Ask before each use."""

    def __init__(self, region, epoch, end):
        self.region, self.epoch, self._end, self._over = region, epoch, end, False

    @property
    def held(self):
        return not self._over and time.monotonic() < self._end

    def extend(self, end):
        if not self._over:
            self._end = max(self._end, end)

    def end(self):
        self._over = True


class Authority:
    """Registers a game server, takes leases, and renews them on a thread of its own. `lost(lease, reason)` is called there."""

    def __init__(self, mesh, server_id, name, lost, address="", heartbeat_s=0.3):
        self._mesh, self._server_id, self._name, self._address = mesh, server_id, name, address
        self._lost, self._heartbeat_s = lost, heartbeat_s
        self._leases, self._lock, self._stop = {}, threading.Lock(), threading.Event()
        self._incarnation = int(time.time() * 1000) * 1024 + random.randrange(1024)
        self._thread = threading.Thread(target=self._renew_for_ever, daemon=True)

    def _call(self, method, request, deadline_s=10.0):
        return self._mesh.call("authority", method, request, writes=True, deadline_s=deadline_s)

    def register(self):
        """Waits where an earlier start of this server ended without `close` and is still registered: it runs out."""
        end = None
        while True:
            try:
                self._register()
                break
            except MeshError as error:
                if error.reason != "SERVER_ALREADY_REGISTERED" or error.metadata.get("same_id") != "true":
                    raise
                end = end or time.monotonic() + int(error.metadata["ttl_ms"]) / 1000 + 1
                if time.monotonic() > end:
                    raise
                time.sleep(0.25)
        if not self._thread.is_alive():
            self._thread.start()

    def acquire(self, region):
        # A lease counts from before the call was sent, so that the holder gives up before the directory gives the region away.
        # The time before the last attempt is earlier still, and so safe too.
        sent = time.monotonic()
        granted = self._call("Acquire", authority_pb2.AcquireRequest(server_id=self._server_id, region=region)).lease
        lease = Lease(region, granted.epoch, sent + granted.duration_ms / 1000)
        with self._lock:
            self._leases[(region.x, region.y, region.z)] = lease
        return lease

    def release(self, lease):
        lease.end()
        with self._lock:
            self._leases.pop((lease.region.x, lease.region.y, lease.region.z), None)
        return self._call("Release", authority_pb2.ReleaseRequest(server_id=self._server_id, region=lease.region, epoch=lease.epoch)).released

    def close(self):
        """Ends the renewals and the registration: the next start finds the id, the name and the regions free."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        with self._lock:
            leases, self._leases = list(self._leases.values()), {}
        for lease in leases:
            lease.end()
        self._call("Unregister", authority_pb2.UnregisterRequest(server_id=self._server_id, incarnation=self._incarnation))

    def _renew_for_ever(self):
        while not self._stop.wait(self._heartbeat_s):
            with self._lock:
                leases = dict(self._leases)
            try:
                self._renew(leases)
            except MeshError as error:
                # What could not be renewed runs out by the clock, and the next round tries again.
                if error.reason == "SERVER_NOT_REGISTERED":
                    self._register_again()
            for lease in leases.values():
                if not lease.held:
                    self._lose(lease, "expired")

    def _renew(self, leases):
        keys = [authority_pb2.LeaseKey(region=lease.region, epoch=lease.epoch) for lease in leases.values()]
        sent = time.monotonic()
        answer = self._call("Renew", authority_pb2.RenewRequest(server_id=self._server_id, leases=keys), deadline_s=1.0)
        for renewed in answer.renewed:
            lease = leases.get((renewed.region.x, renewed.region.y, renewed.region.z))
            if lease is not None and lease.epoch == renewed.epoch:
                lease.extend(sent + renewed.duration_ms / 1000)
        for lost in answer.lost:
            self._lose(leases.get((lost.region.x, lost.region.y, lost.region.z)), "taken")

    def _register_again(self):
        try:
            self._register(deadline_s=1.0)
        except MeshError as error:
            print(f"cannot register: {error}")

    def _register(self, deadline_s=10.0):
        request = authority_pb2.RegisterRequest(server_id=self._server_id, name=self._name, address=self._address, incarnation=self._incarnation)
        self._call("Register", request, deadline_s)

    def _lose(self, lease, reason):
        if lease is None:
            return
        with self._lock:
            known = self._leases.get((lease.region.x, lease.region.y, lease.region.z)) is lease
            if known:
                del self._leases[(lease.region.x, lease.region.y, lease.region.z)]
        lease.end()
        if not known:
            return
        try:
            self._lost(lease, reason)
        except Exception:  # The game's own: it must not end the renewals of other leases.
            traceback.print_exc()

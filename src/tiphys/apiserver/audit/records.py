"""One request's audit record. Each stage makes an event of it."""

from __future__ import annotations

import ipaddress
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from aiohttp import web

from tiphys.api.meta_v1 import Status
from tiphys.apiserver.audit.events import (
    TRUNCATED,
    AuthenticationMetadata,
    Event,
    ObjectReference,
    ResponseStatus,
    UserInfo,
    compact,
    now,
    user_info,
    written,
)
from tiphys.apiserver.audit.policy import Applied, Level
from tiphys.apiserver.http.request import AUDIT_ID, Call, User
from tiphys.machinery.addresses import plain

LARGE = 64 << 10  # bytes of objects from which an event is put together on a thread
MOST = 8 << 20  # bytes of an object that an event has; longer ones are left out
# The same where managed fields are left out: for that the object is decoded, in one call.
MOST_DECODED = 2 << 20
_LONGEST_AGENT = 1024  # characters of a User-Agent, as upstream cuts it
_NAMES = ("None", "Metadata", "Request", "RequestResponse")

Emit = Callable[["Record", str], Awaitable[bool]]


class Line(msgspec.Struct):
    """An event and its JSON."""

    event: Event
    data: bytes


class Record:
    """The record of one audited request. `emit` hands on the event of a stage."""

    __slots__ = (
        "_call",
        "_emit",
        "annotations",
        "applied",
        "audit_id",
        "impersonated_by",
        "impersonated_user",
        "is_long",
        "is_over",
        "is_started",
        "object_ref",
        "received_at",
        "request_body",
        "response_body",
        "status",
        "user",
    )

    def __init__(
        self, call: Call, user: User | None, applied: Applied, is_long: bool, emit: Emit
    ) -> None:
        self._call = call
        self._emit = emit
        self.applied = applied
        self.is_long = is_long
        self.audit_id = call.http.headers.get(AUDIT_ID) or str(uuid.uuid4())
        self.user = user_info(user) if user is not None else UserInfo()
        self.impersonated_user: UserInfo | None = None
        self.impersonated_by = ""
        self.annotations: dict[str, str] = {}
        self.received_at = now()
        self.status: ResponseStatus | None = None
        self.request_body = b""
        self.response_body = b""
        self.is_started = False
        self.is_over = False
        info = call.info
        self.object_ref: ObjectReference | None = None
        if info.is_resource:
            self.object_ref = ObjectReference(
                info.resource,
                info.namespace,
                info.name,
                api_group=info.group,
                api_version=info.version,
                subresource=info.subresource,
            )

    @property
    def wants_request(self) -> bool:
        return self.applied.level >= Level.REQUEST

    @property
    def wants_response(self) -> bool:
        return self.applied.level >= Level.REQUEST_RESPONSE

    @property
    def size(self) -> int:
        return len(self.request_body) + len(self.response_body)

    @property
    def header(self) -> str:
        """The id as a header may have it: bytes that are no UTF-8 are dropped."""
        return self.audit_id.encode(errors="replace").decode()

    # --- what becomes known on the way ---

    def impersonates(self, user: User, constraint: str) -> None:
        self.impersonated_user = user_info(user)
        self.impersonated_by = constraint

    def decided(self, allowed: bool, reason: str) -> None:
        """The authorizers' decision."""
        self.annotate("authorization.k8s.io/decision", "allow" if allowed else "forbid")
        self.annotate("authorization.k8s.io/reason", reason)

    def annotate(self, key: str, value: str) -> None:
        """The first value of a key is kept, as upstream does."""
        self.annotations.setdefault(key, value)

    def posted(self, obj: Any, data: Callable[[], bytes]) -> None:
        """The object of the request's body, and its JSON where the policy asks for that."""
        reference = self.object_ref
        meta = getattr(obj, "metadata", None)
        if reference is not None and meta is not None:
            reference.namespace = reference.namespace or getattr(meta, "namespace", "")
            reference.name = reference.name or getattr(meta, "name", "")
            reference.uid = reference.uid or getattr(meta, "uid", "")
            version = getattr(meta, "resource_version", "")
            reference.resource_version = reference.resource_version or version
        if self.wants_request:
            self.patched(data())

    def patched(self, data: bytes) -> None:
        """A body that is no object: a patch, in JSON."""
        if self.wants_request and self._fits(len(data)):
            self.request_body = data

    def answers(self, data: bytes) -> None:
        """The object of the answer, in JSON, whatever form the client is sent."""
        if self.wants_response and not self.response_body and self._fits(len(data)):
            self.response_body = data

    def lists(self, length: int, data: Callable[[], bytes]) -> None:
        """As `answers`, of what is not yet in one piece."""
        if self.wants_response and self._fits(length):
            self.response_body = data()

    def _fits(self, length: int) -> bool:
        if length > (MOST_DECODED if self.applied.omit_managed_fields else MOST):
            self.annotate(TRUNCATED, "true")
            return False
        return True

    def failed(self, status: Status) -> None:
        self.status = ResponseStatus(
            status=status.status,
            message=status.message,
            reason=status.reason,
            details=status.details,
            code=status.code,
        )

    # --- stages ---

    async def received(self) -> bool:
        return await self._emit_stage("RequestReceived")

    async def prepares(self, response: web.StreamResponse) -> None:
        """The head of the answer is about to go out."""
        response.headers[AUDIT_ID] = self.header
        if not self.is_over:
            await self.started(response.status)

    async def started(self, code: int) -> None:
        """The head of the answer goes out. It is a stage of requests that last."""
        if self.is_started:
            return
        self.is_started = True
        if self.status is None:
            self.status = ResponseStatus()
        self.status.code = code
        if self.is_long:
            await self._emit_stage("ResponseStarted")

    async def completed(self) -> None:
        """The request is over, whether or not its client has waited for that."""
        if self.is_over:
            return
        if self.status is None:
            message = "Connection closed early"
            self.status = ResponseStatus(status="Success", message=message, code=200)
            if self.is_long:
                await self._emit_stage("ResponseStarted")
        await self._emit_stage("ResponseComplete")
        self.is_over = True

    async def panicked(self, error: BaseException) -> None:
        """The server failed. The event is Panic instead of ResponseComplete."""
        self.status = ResponseStatus(
            status="Failure",
            message=f"APIServer panic'd: {error}",
            reason="InternalError",
            code=500,
        )
        await self._emit_stage("Panic")
        self.is_over = True

    async def _emit_stage(self, stage: str) -> bool:
        if stage in self.applied.omitted:
            return True
        return await self._emit(self, stage)

    def line(self, stage: str) -> Line:
        """The event of a stage. With large objects it is for a thread."""
        http = self._call.http
        constraint = self.impersonated_by
        event = Event(
            level=_NAMES[self.applied.level],
            audit_id=self.audit_id,
            stage=stage,
            request_uri=http._message.path,
            verb=self._call.info.verb,
            user=self.user,
            impersonated_user=self.impersonated_user,
            authentication_metadata=AuthenticationMetadata(constraint) if constraint else None,
            source_ips=source_ips(http.headers, http._transport_peername),
            user_agent=_agent(http.headers.get("User-Agent", "")),
            object_ref=self.object_ref,
            response_status=self.status,
            request_received_timestamp=self.received_at,
            stage_timestamp=self.received_at if stage == "RequestReceived" else now(),
            annotations=self.annotations,
        )
        omit = self.applied.omit_managed_fields
        if self.request_body:
            event.request_object = compact(self.request_body, omit)
        if self.response_body:
            event.response_object = compact(self.response_body, omit)
        return Line(event, written(event))


def _agent(text: str) -> str:
    return text if len(text) <= _LONGEST_AGENT else text[:_LONGEST_AGENT] + "...TRUNCATED"


def source_ips(headers: Any, peer: Any) -> list[str]:
    """Where a request came from: the addresses that proxies claim, which may be any, and
    last the other end of the connection."""
    addresses: list[str] = []
    if "X-Forwarded-For" in headers:
        parts = headers["X-Forwarded-For"].split(",")
        addresses = [ip for part in parts if (ip := _address(part.strip()))]
    if "X-Real-Ip" in headers:
        real = _address(headers["X-Real-Ip"])
        if real and real not in addresses:
            addresses.append(real)
    remote = plain(peer[0]) if peer else ""
    if remote and addresses[-1:] != [remote]:
        addresses.append(remote)
    return addresses


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return ""

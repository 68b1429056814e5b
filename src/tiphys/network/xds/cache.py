"""The resources that an xDS server serves: serialised once, with versions by their content, and who
waits for which."""

from __future__ import annotations

import hashlib
from collections import ChainMap
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

T = TypeVar("T")

_PREFIX = "type.googleapis.com/"
LISTENER = _PREFIX + "envoy.config.listener.v3.Listener"
ROUTE = _PREFIX + "envoy.config.route.v3.RouteConfiguration"
CLUSTER = _PREFIX + "envoy.config.cluster.v3.Cluster"
ENDPOINTS = _PREFIX + "envoy.config.endpoint.v3.ClusterLoadAssignment"
SECRET = _PREFIX + "envoy.extensions.transport_sockets.tls.v3.Secret"

ORDER = (CLUSTER, ENDPOINTS, LISTENER, ROUTE, SECRET)
"""In which types are pushed, so that nothing is named before it is there (make before break)."""


class Message(Protocol):
    """A protobuf message."""

    def SerializeToString(self, *, deterministic: bool = ...) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Resource:
    """`body` is the message as an `Any`, ready for the wire; `version` is a hash of it."""

    name: str
    version: str
    body: bytes


def resource(type_url: str, name: str, message: Message) -> Resource:
    """Serialises a message. Equal messages have equal versions, in every process."""
    value = message.SerializeToString(deterministic=True)
    body = _bytes_field(1, type_url.encode()) + _bytes_field(2, value)
    return Resource(name, hashlib.blake2b(body, digest_size=8).hexdigest(), body)


def _bytes_field(number: int, value: bytes) -> bytes:
    return bytes((number << 3 | 2,)) + varint(len(value)) + value


def varint(value: int) -> bytes:
    """An unsigned number as protobuf writes it."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


Listener = Callable[[str, frozenset[str]], None]  # (type URL, names that changed or went)


@dataclass
class _Type:
    resources: dict[str, Resource] = field(default_factory=dict)
    generation: int = 0
    compiled: Any = None  # from all of them, in the generation `compiled_in`
    compiled_in: int = -1


class Cache:
    """Resources by type and name. Changes are announced once each, in the order of `ORDER` within
    one `update`."""

    def __init__(self) -> None:
        self._types: dict[str, _Type] = {}
        self._listeners: list[Listener] = []

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Calls `listener` for every change from now on. Returns what ends that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def get(self, type_url: str, name: str) -> Resource | None:
        held = self._types.get(type_url)
        return held.resources.get(name) if held is not None else None

    def all(self, type_url: str) -> Mapping[str, Resource]:
        """Every resource of a type by name. Not to be changed."""
        held = self._types.get(type_url)
        return held.resources if held is not None else {}

    def once(self, type_url: str, make: Callable[[Mapping[str, Resource]], T]) -> T:
        """What `make` compiles from every resource of a type, again only when one has changed.
        Each type has one such `make`."""
        held = self._types.setdefault(type_url, _Type())
        if held.compiled_in != held.generation:
            held.compiled = make(held.resources)
            held.compiled_in = held.generation
        return held.compiled  # type: ignore[no-any-return]

    def select(self, type_url: str, names: Iterable[str]) -> list[Resource]:
        """Those of the names that there are."""
        known = self.all(type_url)
        return [known[name] for name in names if name in known]

    def update(
        self, changes: Mapping[str, Mapping[str, Message | None]]
    ) -> dict[str, frozenset[str]]:
        """Puts messages by type and name; None removes one. Returns the names whose content
        changed, by type."""
        changed: dict[str, frozenset[str]] = {}
        for type_url, messages in changes.items():
            names = self._put(type_url, messages)
            if names:
                changed[type_url] = names
        for type_url in sorted(changed, key=_rank):
            for listener in list(self._listeners):
                listener(type_url, changed[type_url])
        return changed

    def replace(self, type_url: str, messages: Mapping[str, Message]) -> frozenset[str]:
        """Makes `messages` all there is of a type. Returns the names whose content changed."""
        gone = dict.fromkeys(set(Cache.all(self, type_url)) - set(messages))
        return self.update({type_url: {**gone, **messages}}).get(type_url, frozenset())

    def _put(self, type_url: str, messages: Mapping[str, Message | None]) -> frozenset[str]:
        held = self._types.setdefault(type_url, _Type())
        names = set()
        for name, message in messages.items():
            before = held.resources.get(name)
            if message is None:
                if before is not None:
                    del held.resources[name]
                    names.add(name)
                continue
            fresh = resource(type_url, name, message)
            if before is None or before.version != fresh.version:
                held.resources[name] = fresh
                names.add(name)
        held.generation += bool(names)
        return frozenset(names)


class View(Cache):
    """What one client has: everything of a cache that many share, and resources of its own, which
    nothing else is served. A name is in one of the two.
    """

    def __init__(self, shared: Cache) -> None:
        super().__init__()
        self._shared = shared

    def listen(self, listener: Listener) -> Callable[[], None]:
        forget = (super().listen(listener), self._shared.listen(listener))

        def forget_both() -> None:
            for forget_listener in forget:
                forget_listener()

        return forget_both

    def get(self, type_url: str, name: str) -> Resource | None:
        return super().get(type_url, name) or self._shared.get(type_url, name)

    def all(self, type_url: str) -> Mapping[str, Resource]:
        own = super().all(type_url)
        shared = self._shared.all(type_url)
        return ChainMap(own, shared) if own and shared else own or shared  # type: ignore[arg-type]

    def once(self, type_url: str, make: Callable[[Mapping[str, Resource]], T]) -> T:
        return make(self.all(type_url))


def _rank(type_url: str) -> int:
    return ORDER.index(type_url) if type_url in ORDER else len(ORDER)

"""What routes are made of, and nothing else of those objects: the rest is not even decoded.

Every list and map may be null, as Go writes what is empty.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

from tiphys.addons.routeserver.types import RouteGroupSpec
from tiphys.api.base import Struct, always, decoder

T = TypeVar("T")


class Metadata(Struct):
    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    annotations: dict[str, str] | None = None
    labels: dict[str, str] | None = None

    def annotation(self, key: str) -> str:
        return (self.annotations or {}).get(key, "")

    @property
    def key(self) -> tuple[str, str]:
        return self.namespace or "default", self.name


class _Object(Struct):
    metadata: Metadata = msgspec.field(default_factory=Metadata)


# --- Ingress ---


class IngressPort(Struct):
    name: str = ""
    number: int = 0

    def __str__(self) -> str:
        return str(self.number) if self.number else self.name


class IngressService(Struct):
    name: str = ""
    port: IngressPort = msgspec.field(default_factory=IngressPort)


class IngressBackend(Struct):
    service: IngressService = msgspec.field(default_factory=IngressService)


class IngressPath(Struct):
    path: str = ""
    path_type: str | None = None
    backend: IngressBackend | None = None


class IngressPaths(Struct):
    paths: list[IngressPath] | None = None


class IngressRule(Struct):
    host: str = ""
    http: IngressPaths | None = None


class IngressSpec(Struct):
    ingress_class_name: str | None = None
    default_backend: IngressBackend | None = None
    rules: list[IngressRule] | None = None


class Ingress(_Object):
    api_version: str = always("networking.k8s.io/v1")
    kind: str = always("Ingress")
    spec: IngressSpec | None = None


# --- RouteGroup ---


class RouteGroup(_Object):
    api_version: str = always("zalando.org/v1")
    kind: str = always("RouteGroup")
    spec: RouteGroupSpec | None = None


# --- Service ---


class ServicePort(Struct):
    name: str = ""
    port: int = 0
    target_port: int | str | None = None


class ServiceSpec(Struct):
    type: str = ""
    external_name: str = ""
    ports: list[ServicePort] | None = None


class Service(_Object):
    spec: ServiceSpec | None = None


# --- Endpoints and EndpointSlice ---


class Address(Struct):
    ip: str = ""


class Port(Struct):
    name: str | None = None
    port: int | None = None
    protocol: str | None = None
    app_protocol: str | None = None


class Subset(Struct):
    addresses: list[Address] | None = None
    ports: list[Port] | None = None


class Endpoints(_Object):
    subsets: list[Subset] | None = None


class Conditions(Struct):
    ready: bool | None = None
    terminating: bool | None = None


class SliceEndpoint(Struct):
    addresses: list[str] | None = None
    conditions: Conditions | None = None
    zone: str | None = None


class EndpointSlice(_Object):
    endpoints: list[SliceEndpoint] | None = None
    ports: list[Port] | None = None


# --- all of them ---


@dataclass(frozen=True)
class Problem:
    """Why an object, or a part of it, gives no routes. `about` is what an event is written to."""

    about: Ingress | RouteGroup
    message: str


@dataclass
class Objects:
    """A reading of the cluster. `endpoints` are there or `endpoint_slices`, as the options say."""

    ingresses: list[Ingress] = field(default_factory=list)
    route_groups: list[RouteGroup] = field(default_factory=list)
    services: list[Service] = field(default_factory=list)
    endpoints: list[Endpoints] = field(default_factory=list)
    endpoint_slices: list[EndpointSlice] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


class _Items(Struct):
    items: list[msgspec.Raw] | None = None


def read_list(answer: bytes, kind: type[T], problems: list[Problem]) -> list[T]:
    """The items of a list. One that is not what it should be is left out, so that it harms itself alone."""
    items = msgspec.json.decode(answer, type=_Items).items or []
    return list(_read_items(items, kind, problems))


def _read_items(
    items: Iterable[msgspec.Raw], kind: type[T], problems: list[Problem]
) -> Iterable[T]:
    of_kind: Any = kind
    decode = decoder(of_kind).decode
    for item in items:
        try:
            yield decode(item)
        except msgspec.ValidationError as error:
            if kind in (Ingress, RouteGroup):
                about = of_kind(metadata=_metadata_of(item))
                problems.append(Problem(about, f"cannot be read: {error}"))


def _metadata_of(item: msgspec.Raw) -> Metadata:
    """As much of the metadata as can be read of an object that is broken."""
    obj = msgspec.json.decode(item)
    plain = obj.get("metadata") if isinstance(obj, dict) else None
    if not isinstance(plain, dict):
        return Metadata()
    return Metadata(
        name=str(plain.get("name", "")),
        namespace=str(plain.get("namespace", "")),
        uid=str(plain.get("uid", "")),
        resource_version=str(plain.get("resourceVersion", "")),
    )

"""Servers of aggregated APIs: what is known of one, and how its documents are read."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from tiphys.api.apiregistration_v1 import APIService, APIServiceSpec
from tiphys.api.catalog import GroupVersion
from tiphys.apiserver.documents import openapi_proto
from tiphys.apiserver.documents.openapi_merge import merged


class _Resource(msgspec.Struct, rename="camel", omit_defaults=True):
    name: str
    singular_name: str = ""
    namespaced: bool = False
    group: str = ""
    version: str = ""
    kind: str = ""
    verbs: list[str] | None = None
    short_names: list[str] | None = None
    categories: list[str] | None = None


class _Resources(msgspec.Struct):
    """An APIResourceList that another server answered, as far as it is shown on."""

    resources: list[_Resource] | None = None


@dataclass(frozen=True)
class FrontProxy:
    """The identity with which requests are passed on, as PEM files."""

    certificate: Path
    key: Path


@dataclass(slots=True)
class Remote:
    """One served group and version of another server. `resources` is its own discovery, as an
    APIResourceList; `swagger` the part of its OpenAPI v2 document that is about them, {} when it
    has none."""

    service: APIService
    available: bool = False
    resources: list[dict[str, Any]] = field(default_factory=list)
    swagger: dict[str, Any] = field(default_factory=dict)

    @property
    def gv(self) -> GroupVersion:
        return GroupVersion(self.service.spec.group, self.service.spec.version)


def client_context(spec: APIServiceSpec) -> ssl.SSLContext:
    if spec.insecure_skip_tls_verify:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    return ssl.create_default_context(cadata=spec.ca_bundle.decode() or None)


def resources(body: bytes) -> list[dict[str, Any]]:
    listed = msgspec.json.decode(body, type=_Resources).resources or []
    return [msgspec.to_builtins(resource) for resource in listed]


def swagger_of(body: bytes, prefix: str) -> dict[str, Any]:
    """The document that another server answered. Raises ValueError for one that cannot be joined to
    ours: tried here, or it would break everyone's."""
    document: dict[str, Any] = msgspec.json.decode(body, type=dict[str, Any])
    info = {"title": "", "version": ""}
    empty = {"info": info, "paths": {}, "definitions": {}}
    try:
        openapi_proto.v2(merged(empty, [(prefix, document)]))
    except (AttributeError, LookupError, TypeError) as error:
        raise ValueError(f"no OpenAPI v2 document: {error}") from None
    return document

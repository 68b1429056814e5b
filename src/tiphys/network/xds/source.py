"""Keeps an xDS cache as the services and endpoint slices of a cluster are: a change costs its own
service."""

from __future__ import annotations

import asyncio
from typing import Any

from tiphys.api import core_v1, discovery_v1
from tiphys.client.informer import Informers, key_of
from tiphys.network.xds.cache import CLUSTER, ENDPOINTS, LISTENER, ROUTE, Cache, Message
from tiphys.network.xds.services import resources_of

_SERVICE = "kubernetes.io/service-name"
_PAUSE = 0.002  # seconds in which changes of a service are gathered
_AT_ONCE = 20  # services that are compiled before other tasks get a turn
_TYPES = (LISTENER, ROUTE, CLUSTER, ENDPOINTS)


class ServiceSource:
    """Compiles services as they change, each once however much of it changes in a moment."""

    def __init__(self, cache: Cache, informers: Informers) -> None:
        self._cache = cache
        self._services = informers.of(core_v1.Service)
        self._slices = informers.of(discovery_v1.EndpointSlice)
        self._slices.index("service", _service_keys)
        self._names: dict[str, dict[str, set[str]]] = {}  # resources by service and type
        self._dirty: dict[str, None] = {}
        self._loop = asyncio.get_running_loop()

    def start(self) -> None:
        """Compiles what there is, and from now on what changes."""
        self._slices.on_change(self._slice_changed)
        self._services.on_change(self._service_changed)

    def _service_changed(self, old: Any, new: Any) -> None:
        self._mark(key_of(new or old))

    def _slice_changed(self, old: Any, new: Any) -> None:
        for key in dict.fromkeys(
            key
            for endpoint_slice in (old, new)
            if endpoint_slice
            for key in _service_keys(endpoint_slice)
        ):
            self._mark(key)

    def _mark(self, key: str) -> None:
        if not self._dirty:
            self._loop.call_later(_PAUSE, self._flush)
        self._dirty[key] = None

    def _flush(self) -> None:
        for key in list(self._dirty)[:_AT_ONCE]:
            del self._dirty[key]
            self._compile(key)
        if self._dirty:
            self._loop.call_soon(self._flush)

    def _compile(self, key: str) -> None:
        service = self._services.get(key)
        resources: dict[str, dict[str, Message]] = {type_url: {} for type_url in _TYPES}
        if service is not None:
            resources = resources_of(service, self._slices.by("service", key))
        before = self._names.get(key, {})
        changes: dict[str, dict[str, Message | None]] = {}
        for type_url in _TYPES:
            gone = before.get(type_url, set()) - set(resources[type_url])
            changes[type_url] = {**dict.fromkeys(gone), **resources[type_url]}
        self._cache.update(changes)
        if service is None:
            self._names.pop(key, None)
        else:
            self._names[key] = {type_url: set(resources[type_url]) for type_url in _TYPES}


def _service_keys(obj: discovery_v1.EndpointSlice) -> list[str]:
    name = obj.metadata.labels.get(_SERVICE)
    return [f"{obj.metadata.namespace}/{name}"] if name else []

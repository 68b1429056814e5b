"""The old kind ComponentStatus: whether the store, the controllers and the scheduler are there.

Upstream asks each component at its port. Ours have none: one that works has watches open under its own name. The
scheduler mostly runs in the controllers' process, and sees through their watches.
"""

from __future__ import annotations

from aiohttp import web

from tiphys.api.base import encode
from tiphys.api.catalog import Resource
from tiphys.api.core_v1 import ComponentCondition, ComponentStatus
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.apiserver.documents import tables
from tiphys.apiserver.http import respond
from tiphys.apiserver.http.lists import list_head
from tiphys.apiserver.http.options import check_included
from tiphys.apiserver.http.reading import Reader
from tiphys.apiserver.http.request import Call
from tiphys.machinery import errors
from tiphys.store.store import Store

_USERS = {
    "controller-manager": ("system:kube-controller-manager",),
    "scheduler": ("system:kube-scheduler", "system:kube-controller-manager"),
}
_STORE = "etcd-0"
_PATIENCE = 2.0  # seconds that the store has to answer
_OLD = "v1 ComponentStatus is deprecated in v1.19+"


class ComponentStatuses:
    def __init__(self, reader: Reader, store: Store) -> None:
        self._reader = reader
        self._store = store

    async def answer(self, call: Call, resource: Resource) -> web.StreamResponse:
        """GET of one or of all."""
        call.warnings.append(_OLD)
        name = call.info.name
        if name and name != _STORE and name not in _USERS:
            raise errors.not_found("componentstatuses", name)
        names = [name] if name else sorted((_STORE, *_USERS))
        objects = [encode(await self._status(each)) for each in names]
        if name:
            return respond.one(call, resource, objects[0])
        want = respond.accepted(call.http.headers.get("Accept", ""))
        if want.shape == "Table":
            include = call.query.get("includeObject", "")
            check_included(include)
            data = tables.table(resource, objects, {}, include or "Metadata", version=want.version)
        else:
            data = list_head(b"ComponentStatusList", b"v1", {}) + b",".join(objects) + b"]}"
        return respond.formed(call, data, want)

    async def _status(self, name: str) -> ComponentStatus:
        error = ""
        if name == _STORE:
            error = "" if await self._store.answers(_PATIENCE) else "the store does not answer"
        elif not self._reader.watches.is_watching(_USERS[name]):
            error = f"no watch of {_USERS[name][0]} is open"
        healthy = ComponentCondition(type="Healthy", status="False" if error else "True")
        healthy.message, healthy.error = ("", error) if error else ("ok", "")
        return ComponentStatus(metadata=ObjectMeta(name=name), conditions=[healthy])

"""GET of component statuses, which are not stored but found out (`resources/componentstatuses`)."""

from __future__ import annotations

from aiohttp import web

from tiphys.api.base import encode
from tiphys.api.catalog import Resource
from tiphys.apiserver.documents import tables
from tiphys.apiserver.http import respond
from tiphys.apiserver.http.lists import short_list
from tiphys.apiserver.http.options import check_included
from tiphys.apiserver.http.reading import Reader
from tiphys.apiserver.http.request import Call
from tiphys.apiserver.resources.componentstatuses import COMPONENTS, component_status
from tiphys.machinery import errors
from tiphys.store.store import Store


class ComponentStatuses:
    """Answers GET of one or of all."""

    def __init__(self, reader: Reader, store: Store) -> None:
        self._reader = reader
        self._store = store

    async def store_answers(self, seconds: float) -> bool:
        return await self._store.answers(seconds)

    def is_watching(self, users: tuple[str, ...]) -> bool:
        return self._reader.watches.is_watching(users)

    async def answer(self, call: Call, resource: Resource) -> web.StreamResponse:
        name = call.info.name
        if name:
            if name not in COMPONENTS:
                raise errors.not_found("componentstatuses", name)
            return respond.object_answer(call, resource, encode(await component_status(name, self)))
        objects = [encode(await component_status(component, self)) for component in COMPONENTS]
        want = respond.accepted(call.http.headers.get("Accept", ""))
        if want.shape == "Table":
            include = call.query.get("includeObject", "")
            check_included(include)
            data = tables.table(resource, objects, {}, include or "Metadata", version=want.version)
        else:
            data = short_list(resource, objects)
        return respond.formed(call, data, want)

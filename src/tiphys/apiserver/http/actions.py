"""POSTs that do something instead of storing what was posted. What they do is in the slices
(`resources/actions`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from aiohttp import web

from tiphys.api.catalog import Resource, resource_of
from tiphys.api.meta_v1 import DeleteOptions
from tiphys.apiserver.access.authentication import Authenticator
from tiphys.apiserver.access.authorization import Authorizer
from tiphys.apiserver.eventloop.aside import aside
from tiphys.apiserver.http import respond
from tiphys.apiserver.http.bodies import body, read_object
from tiphys.apiserver.http.options import check_write
from tiphys.apiserver.http.request import Call, User
from tiphys.apiserver.registry.admission import Attributes
from tiphys.apiserver.registry.changes import Mutation
from tiphys.apiserver.registry.registry import Registry
from tiphys.apiserver.registry.writes import Write
from tiphys.apiserver.resources.actions import Action
from tiphys.machinery import timestamps
from tiphys.store.cache import Entry

T = TypeVar("T")


@dataclass(slots=True)
class Context:
    """The request that an action carries out (`resources.actions.ActionContext`)."""

    call: Call
    resource: Resource
    registry: Registry
    authenticator: Authenticator
    authorizer: Authorizer

    @property
    def namespace(self) -> str:
        return self.call.info.namespace

    @property
    def name(self) -> str:
        return self.call.info.name

    @property
    def user(self) -> User:
        return self.call.user

    @property
    def dry_run(self) -> bool:
        return self.call.dry_run

    def now(self) -> str:
        return timestamps.rfc3339(self.registry.now())

    def find(self, kind: type[T], namespace: str, name: str) -> T | None:
        return self.registry.find(kind, namespace, name)

    def entries(self, kind: type[Any], namespace: str = "") -> Iterable[Entry]:
        return self.registry.entries(kind, namespace)

    async def admit(self, posted: Any, name: str) -> Any:
        attributes = Attributes(
            self.resource,
            "CREATE",
            self.namespace,
            name,
            posted,
            None,
            self.user,
            self.dry_run,
            self.call.info.subresource,
            f"{posted.api_version}/{posted.kind}",
        )
        await self.registry.admission.mutate(attributes)
        await self.registry.admission.validate(attributes)
        return attributes.obj

    async def update(
        self, kind: type[T], namespace: str, name: str, change: Callable[[T], T], subresource: str
    ) -> Entry:
        write = Write(
            resource_of(kind),
            namespace,
            name,
            self.user,
            self.dry_run,
            subresource=subresource,
            admitted=True,
        )
        written = await self.registry.update(write, Mutation(change))
        return written.entry

    async def delete(
        self, kind: type[Any], namespace: str, name: str, options: DeleteOptions
    ) -> None:
        write = Write(resource_of(kind), namespace, name, self.user, self.dry_run)
        await self.registry.delete(write, options)


class Actions:
    """Reads what was posted, runs the action, and answers."""

    def __init__(
        self, registry: Registry, authenticator: Authenticator, authorizer: Authorizer
    ) -> None:
        self._registry = registry
        self._authenticator = authenticator
        self._authorizer = authorizer

    async def run(self, call: Call, resource: Resource, action: Action[Any]) -> web.Response:
        data = await body(call)
        check_write(call, "CreateOptions")
        posted = await aside(read_object, call, data, action.body, resource)
        context = Context(call, resource, self._registry, self._authenticator, self._authorizer)
        result = await action.run(posted, context)
        return await aside(respond.status, call, result, 201)

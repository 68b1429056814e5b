"""Who answers a request about a resource: by its verb and subresource, and by what the resource's
strategy declares."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

from aiohttp import web

from tiphys.api.catalog import Resource, Subresource
from tiphys.apiserver.access.authentication import Authenticator
from tiphys.apiserver.access.authorization import Authorizer
from tiphys.apiserver.http.actions import Actions
from tiphys.apiserver.http.components import ComponentStatuses
from tiphys.apiserver.http.reading import Reader
from tiphys.apiserver.http.request import Call
from tiphys.apiserver.http.scales import Scales
from tiphys.apiserver.http.writing import Writer
from tiphys.apiserver.parts import ServedGroup
from tiphys.apiserver.proxying.connect import Connector
from tiphys.apiserver.registry.registry import Registry
from tiphys.apiserver.resources.actions import Action
from tiphys.apiserver.resources.subresources import Connection, Part
from tiphys.machinery import errors

Handler = Callable[[Call, Resource], Awaitable[web.StreamResponse]]


class Handlers:
    """`groups` are those that another part of this process serves, by name."""

    def __init__(
        self,
        registry: Registry,
        reader: Reader,
        authenticator: Authenticator,
        authorizer: Authorizer,
        connector: Connector,
        groups: Mapping[str, ServedGroup],
    ) -> None:
        writer = Writer(registry, authorizer, reader.bulk)
        scales = Scales(registry, writer)
        self._registry = registry
        self._groups = groups
        self._actions = Actions(registry, authenticator, authorizer)
        self._components = ComponentStatuses(reader, registry.store)
        self._verbs: dict[str, Handler] = {
            "get": reader.get,
            "list": reader.collect,
            "watch": reader.watch,
            "create": writer.create,
            "update": writer.update,
            "patch": writer.patch,
            "delete": writer.delete,
            "deletecollection": writer.delete_collection,
        }
        self._parts: dict[str, Handler] = {
            "get": reader.get,
            "update": writer.update,
            "patch": writer.patch,
        }
        self._scale: dict[str, Handler] = {
            "get": scales.get,
            "update": scales.update,
            "patch": scales.patch,
        }
        self._connections: dict[Connection, Handler] = {
            Connection.LOG: connector.log,
            Connection.STREAM: connector.stream,
            Connection.PROXY: connector.proxy,
        }

    def of(self, call: Call, resource: Resource) -> Handler:
        """The one for a request. Raises StatusError for a verb or a path that there is not."""
        info = call.info
        custom = not resource.built_in
        if info.subresource:
            sub = resource.subresource(info.subresource)
            if sub is None or (len(info.parts) > 3 and sub.name != "proxy"):
                if custom:
                    raise errors.not_found(resource.group_resource, info.name)
                raise errors.page_not_found()
            if info.verb == "watch" and not custom:
                raise errors.page_not_found()
            handler = self._subresource(resource, sub, info.verb)
        elif (action := self._registry.strategy_of(resource).action) is not None:
            handler = self._action(action) if info.verb == "create" else None
        elif resource.plural == "componentstatuses":
            handler = self._components.answer if info.verb in ("get", "list") else None
        elif (group := self._groups.get(resource.group)) is not None:
            handler = group.answer if info.verb in resource.verbs else None
        else:
            handler = self._verbs.get(info.verb) if info.verb in resource.verbs else None
            if (
                info.verb in ("create", "deletecollection")
                and len(info.parts) > 1
                and info.parts[1]
            ):
                handler = None
            if custom and not info.name and info.verb in ("update", "patch"):
                raise errors.bad_request("name must be provided")
        if handler is None:
            if custom:
                raise errors.method_not_allowed(resource.group_resource, info.verb)
            raise errors.method_refused()
        return handler

    def _subresource(self, resource: Resource, sub: Subresource, verb: str) -> Handler | None:
        """Who answers on a path below an object; None for a verb that it does not have."""
        declared = self._registry.strategy_of(resource).subresources.get(sub.name)
        if isinstance(declared, Connection):
            # A proxy is there for any method: the verb of those that have no name here is "".
            offered = verb in sub.verbs or (declared is Connection.PROXY and not verb)
            return self._connections[declared] if offered else None
        if verb not in sub.verbs:
            return None
        if isinstance(declared, Action):
            return self._action(declared)
        if isinstance(declared, Part) or sub.name == "status":
            return self._parts.get(verb)
        return self._scale.get(verb) if sub.name == "scale" else None

    def _action(self, action: Action[Any]) -> Handler:
        return partial(self._actions.run, action=action)

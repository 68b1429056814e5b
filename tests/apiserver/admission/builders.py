"""A registry for plugins that look objects up."""

from __future__ import annotations

import fnmatch
from collections.abc import Awaitable
from typing import Any

from tiphys.api.catalog import Resource, resource_of
from tiphys.api.meta_v1 import Object
from tiphys.apiserver.access.asked import Asked
from tiphys.apiserver.admission import Admission, Attributes
from tiphys.apiserver.http.request import User
from tiphys.apiserver.registry.registry import Registry
from tiphys.machinery.errors import StatusError
from tiphys.store.store import Store

JANE = User("jane", ("devs", "system:authenticated"))


class NoWebhook:
    """Plugins' look-ups convert nothing by a webhook."""

    async def call(self, client_config: Any, review: Any, seconds: float) -> Any:
        raise AssertionError("a webhook was called")


def _no_strategy(resource: Resource) -> Any:
    raise AssertionError(f"a plugin asked for the rules of {resource.plural}")


def registry_of(store: Store) -> Registry:
    """The registry over a store: for look-ups, not for writes."""
    return Registry(store, Admission([]), _no_strategy, NoWebhook())


def attributes(
    operation: str, obj: Object | None, old: Object | None = None, **more: Any
) -> Attributes:
    """A write of jane's."""
    seen: Any = obj if obj is not None else old
    resource = more.pop("resource", None) or resource_of(type(seen))
    name = more.pop("name", seen.metadata.name)
    user = more.pop("user", JANE)
    namespace = more.pop("namespace", seen.metadata.namespace)
    return Attributes(resource, operation, namespace, name, obj, old, user, **more)


async def refusal(step: Awaitable[Any]) -> str:
    """What a plugin says against it; empty when it lets it pass."""
    try:
        await step
    except StatusError as error:
        return error.status.message
    return ""


class Rights:
    """An authorizer: `rights` are ``verb resource [namespace/name]`` with * for anything."""

    def __init__(self, *rights: str) -> None:
        self._rights = rights
        self.asked: list[str] = []

    def authorize(self, user: User, asked: Asked) -> tuple[bool, str]:
        what = asked.path or f"{asked.group}/{asked.resource}"
        text = f"{asked.verb} {what} {asked.namespace}/{asked.name}"
        self.asked.append(f"{user.name}: {text}")
        return any(fnmatch.fnmatchcase(text, right) for right in self._rights), "because"


class Record:
    """What audit events say of a request (`collect_annotations`)."""

    wants_request = True

    def __init__(self) -> None:
        self.annotations: dict[str, str] = {}

    def annotate(self, key: str, value: str) -> None:
        self.annotations[key] = value

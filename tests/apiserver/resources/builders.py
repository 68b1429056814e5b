"""The context of an action, over objects in memory."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from tests.apiserver.access.builders import stored
from tests.apiserver.admission.builders import JANE, registry_of
from tiphys.api.catalog import resource_of
from tiphys.api.meta_v1 import DeleteOptions, Object
from tiphys.machinery import errors

NOW = "2026-01-01T00:00:00Z"


class Acting:
    """What an action finds, and what it does: `updated` objects, and what it `deleted` with which
    options. Admission lets everything pass."""

    def __init__(self, *existing: Object, name: str = "", namespace: str = "default", **more: Any) -> None:  # fmt: skip
        self._registry = registry_of(stored(*existing))
        self.name = name
        self.namespace = namespace
        self.user = JANE
        self.dry_run = False
        self.updated: list[Any] = []
        self.deleted: list[tuple[str, DeleteOptions]] = []
        self.__dict__.update(more)

    def now(self) -> str:
        return NOW

    def find(self, kind: type[Any], namespace: str, name: str) -> Any:
        return self._registry.find(kind, namespace, name)

    def entries(self, kind: type[Any], namespace: str = "") -> Any:
        return self._registry.entries(kind, namespace)

    async def admit(self, posted: Any, name: str) -> Any:
        return posted

    async def update(self, kind: type[Any], namespace: str, name: str, change: Callable[[Any], Any], subresource: str) -> Any:  # fmt: skip
        found = self.find(kind, namespace, name)
        if found is None:
            raise errors.not_found(resource_of(kind).plural, name)
        self.updated.append(change(found))
        return SimpleNamespace(revision=77)

    async def delete(self, kind: type[Any], namespace: str, name: str, options: DeleteOptions) -> None:  # fmt: skip
        self.deleted.append((name, options))

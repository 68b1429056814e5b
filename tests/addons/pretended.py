"""Informers that nobody runs, and a client that remembers what it was asked."""

from __future__ import annotations

import copy
from typing import Any

from prometheus_client import CollectorRegistry

from tiphys.api import core_v1
from tiphys.api.base import from_builtins, to_builtins
from tiphys.client.informer import Informer, key_of
from tiphys.client.metrics import ComponentMetrics
from tiphys.machinery import errors, mergepatch


class Pretended:
    """Is the client and the informers at once. What is applied, as typed objects, stands in the
    informers then; `found` is what may be got beside, by kind and name."""

    def __init__(self) -> None:
        self.metrics = ComponentMetrics(CollectorRegistry())
        self._informers: dict[Any, Informer[Any]] = {}
        self._version = 0
        self.found: dict[tuple[str, str], Any] = {}
        self.applied: list[Any] = []
        self.deleted: list[tuple[str, str, str]] = []
        self.patched: list[tuple[str, Any]] = []
        self.fails: Exception | None = None

    def of(self, kind: Any) -> Informer[Any]:
        nobody: Any = None
        return self._informers.setdefault(kind, Informer(nobody, kind))

    def put(self, obj: Any) -> Any:
        self._version += 1
        obj.metadata.resource_version = str(self._version)
        obj.metadata.uid = obj.metadata.uid or f"uid-{self._version}"
        self.of(type(obj))._put(obj)
        return obj

    def take(self, obj: Any) -> None:
        self.of(type(obj))._remove(obj)

    # --- the client ---

    async def apply(self, obj: Any, namespace: str = "", *, manager: str, force: bool) -> Any:
        self._fail()
        self.applied.append(obj)
        if isinstance(obj, dict):
            return obj
        there = self.of(type(obj)).get(key_of(obj))
        made = copy.deepcopy(obj)
        if there is not None:
            made.metadata.uid = there.metadata.uid
            if hasattr(there, "status"):
                made.status = there.status
        return self.put(made)

    async def update(self, obj: Any) -> Any:
        self._fail()
        return self.put(copy.deepcopy(obj))

    create = update_status = update

    async def get(self, kind: Any, name: str, namespace: str) -> Any:
        self._fail()
        title = kind["kind"] if isinstance(kind, dict) else kind.__name__
        found = self.found.get((title, name))
        if found is None:
            raise errors.not_found(title, name)
        return found

    async def delete(self, kind: Any, name: str, namespace: str, uid: str) -> None:
        title = kind["kind"] if isinstance(kind, dict) else kind.__name__
        self.deleted.append((title, name, uid))

    async def patch(
        self, kind: Any, name: str, patch: Any, namespace: str, subresource: str, media: str
    ) -> None:
        self._fail()
        self.patched.append((f"{kind.__name__} {namespace}/{name}", patch[subresource]))

    def _fail(self) -> None:
        if self.fails is not None:
            raise self.fails


class Patched(Pretended):
    """Merge patches change what stands in the informers, and `gone` are the names of what was
    deleted. A patch that is bound to another version is a conflict."""

    def __init__(self) -> None:
        super().__init__()
        self.gone: list[str] = []

    async def get(self, kind: Any, name: str, namespace: str = "") -> Any:
        self._fail()
        found = self.of(kind).get(f"{namespace}/{name}" if namespace else name)
        if found is None:
            raise errors.not_found(kind.__name__, name)
        return from_builtins(to_builtins(found), kind)

    async def patch(  # type: ignore[override]
        self, kind: Any, name: str, patch: Any, namespace: str = "", part: str = "", *, media: str
    ) -> Any:
        there = await self.get(kind, name, namespace)
        plain = to_builtins(patch)
        version = plain.get("metadata", {}).pop("resourceVersion", None)
        if version not in (None, there.metadata.resource_version):
            raise errors.conflict(kind.__name__, name, "changed")
        return self.put(from_builtins(mergepatch.merge(to_builtins(there), plain), kind))

    async def update_status(self, obj: Any) -> Any:
        self._fail()
        there: Any = self.of(type(obj)).get(key_of(obj))
        if there.metadata.resource_version != obj.metadata.resource_version:
            raise errors.conflict(type(obj).__name__, obj.metadata.name, "changed")
        return self.put(from_builtins(to_builtins(obj), type(obj)))

    async def delete(  # type: ignore[override]
        self, kind: Any, name: str, namespace: str = "", *, uid: str = ""
    ) -> None:
        self._fail()
        self.gone.append(name)


def secret(name: str, **data: str) -> core_v1.Secret:
    made = core_v1.Secret()
    made.metadata.name = name
    made.data = {key: value.encode() for key, value in data.items()}
    return made

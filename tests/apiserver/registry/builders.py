"""A registry over a store in memory, with the rules of every resource and the plugins given."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

from tests.apiserver.admission.builders import NoWebhook
from tiphys.api.base import decode
from tiphys.api.catalog import resource_of
from tiphys.apiserver.admission import Admission, Plugin
from tiphys.apiserver.registry.registry import Registry
from tiphys.apiserver.registry.writes import Write
from tiphys.apiserver.resources import Strategies, selectable_fields
from tiphys.store.memory import MemoryEngine
from tiphys.store.store import Store


@contextlib.asynccontextmanager
async def registry(
    engine: MemoryEngine | None = None, plugins: Sequence[Plugin] = ()
) -> AsyncIterator[Registry]:
    store = Store(engine or MemoryEngine(), selectable_fields)
    await store.open()
    try:
        yield Registry(store, Admission(list(plugins)), Strategies().of, NoWebhook())
    finally:
        await store.close()


async def created(objects: Registry, obj: Any) -> Any:
    """The object as it is stored."""
    resource = resource_of(type(obj))
    entry = await objects.create(Write(resource, obj.metadata.namespace), obj)
    return decode(entry.data, type(obj))


def write_of(obj: Any, **parts: Any) -> Write:
    """A write of the object that is there."""
    return Write(resource_of(type(obj)), obj.metadata.namespace, obj.metadata.name, **parts)

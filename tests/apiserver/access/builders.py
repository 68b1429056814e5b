"""A store that holds given objects, for what reads them from the watch caches."""

from __future__ import annotations

from tiphys.api.base import encode
from tiphys.api.catalog import resource_of
from tiphys.api.meta_v1 import Object
from tiphys.store.cache import Selectable
from tiphys.store.engine import Change
from tiphys.store.memory import MemoryEngine
from tiphys.store.store import Store


def stored(*objects: Object) -> Store:
    """A store whose caches hold the objects. Pods can be selected by their node."""
    store = Store(MemoryEngine(), lambda prefix: (Selectable("spec.nodeName"),))
    write(store, *objects)
    return store


def write(store: Store, *objects: Object) -> None:
    """Writes objects as if the engine had reported each."""
    for obj in objects:
        _apply(store, obj, encode(obj))


def remove(store: Store, obj: Object) -> None:
    """Deletes an object as if the engine had reported it."""
    _apply(store, obj, None)


def _apply(store: Store, obj: Object, value: bytes | None) -> None:
    resource = resource_of(type(obj))
    cache = store.cache(resource.prefix)
    key = resource.key(obj.metadata.namespace, obj.metadata.name)
    previous = cache.get(key)
    cache.apply(Change(cache.revision + 1, key, value, previous.revision if previous else 0))

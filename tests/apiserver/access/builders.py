"""A store that holds given objects, for what reads them from the watch caches."""

from __future__ import annotations

import contextlib
import functools
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from tests.attack.wire import ask
from tests.issuer import Issuer, configured, parse_configuration
from tiphys.api.base import encode
from tiphys.api.catalog import resource_of
from tiphys.api.meta_v1 import Object
from tiphys.apiserver.access.issuers import TokenIssuer
from tiphys.client.client import Client
from tiphys.client.config import Config
from tiphys.cluster.certificates import Authority
from tiphys.store.cache import Selectable
from tiphys.store.engine import Change
from tiphys.store.memory import MemoryEngine
from tiphys.store.store import Store
from tiphys.testing import LocalCluster


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


@functools.cache
def authority() -> str:
    """A certificate to trust, in PEM: to read all that the system trusts takes 50 ms each time."""
    with tempfile.TemporaryDirectory() as folder:
        return Authority(Path(folder)).path.read_text()


WHOAMI = "/apis/authentication.k8s.io/v1/selfsubjectreviews"


@contextlib.asynccontextmanager
async def believed(issuer: Issuer, /, **more: Any) -> AsyncIterator[TokenIssuer]:
    configuration = parse_configuration(configured(issuer.configuration(**more)), "")
    one = TokenIssuer(configuration.jwt[0])
    try:
        yield one
    finally:
        await one.keys.close()


@contextlib.asynccontextmanager
async def holder(cluster: LocalCluster, token: str) -> AsyncIterator[Client]:
    async with Client(Config(cluster.url, cluster.authority.path, token=token)) as client:
        yield client


async def whoami(cluster: LocalCluster, token: str) -> Any:
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    async with holder(cluster, token) as client:
        answer = await ask(client, "POST", WHOAMI, {}, body)
        return answer.json["status"]["userInfo"] if answer.status == 201 else answer.status

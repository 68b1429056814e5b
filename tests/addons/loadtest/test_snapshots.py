"""What is remembered of how everything was before a test."""

from __future__ import annotations

from typing import Any, cast

import pytest

from tiphys.addons.loadtest.changes import Original
from tiphys.addons.loadtest.snapshots import Snapshot, forget, recalled, remember
from tiphys.addons.loadtest.types import LoadTest
from tiphys.api import core_v1
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.machinery import errors


class Server:
    def __init__(self) -> None:
        self.there: dict[tuple[str, str], core_v1.ConfigMap] = {}
        self.fails: Exception | None = None

    def _fail(self) -> None:
        if self.fails is not None:
            raise self.fails

    async def get(self, kind: Any, name: str, namespace: str) -> core_v1.ConfigMap:
        self._fail()
        if (namespace, name) not in self.there:
            raise errors.not_found("configmaps", name)
        return self.there[namespace, name]

    async def create(self, obj: core_v1.ConfigMap) -> None:
        self._fail()
        key = (obj.metadata.namespace, obj.metadata.name)
        if key in self.there:
            raise errors.already_exists("configmaps", obj.metadata.name)
        self.there[key] = obj

    async def delete(self, kind: Any, name: str, namespace: str) -> None:
        self._fail()
        if self.there.pop((namespace, name), None) is None:
            raise errors.not_found("configmaps", name)


TEST = LoadTest(metadata=ObjectMeta(name="t", namespace="lab", uid="u"))
FIRST = Snapshot({"shop": {"databases": 1}})


async def test_the_first_memory_holds_until_everything_was_restored() -> None:
    server = Server()
    client = cast(Any, server)
    assert await recalled(client, TEST) is None
    await remember(client, TEST, FIRST)
    await remember(client, TEST, Snapshot())
    assert await recalled(client, TEST) == FIRST
    (made,) = server.there.values()
    assert (made.metadata.namespace, made.metadata.name) == ("tiphys-addons", "loadtest-u")
    assert list(made.metadata.annotations.values()) == ["lab/t"]
    await forget(client, TEST)
    await forget(client, TEST)
    assert await recalled(client, TEST) is None


@pytest.mark.parametrize("work", [recalled, forget])
async def test_what_fails_otherwise_is_no_memory(work: Any) -> None:
    server = Server()
    server.fails = errors.forbidden("configmaps", "x", "no")
    with pytest.raises(errors.StatusError):
        await work(cast(Any, server), TEST)
    with pytest.raises(errors.StatusError):
        await remember(cast(Any, server), TEST, FIRST)


def test_originals_are_remembered_by_name() -> None:
    made = Snapshot()
    original = Original(replicas=3, images={"c": "i"}, version="7")
    made.take_originals({"web": original})
    assert made.original("web") == original
    assert made.original("other") is None

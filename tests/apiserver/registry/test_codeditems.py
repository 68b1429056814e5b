"""What is kept for lists in protobuf is bounded, and goes when nobody asks for them any more."""

from __future__ import annotations

import asyncio

from tests.builders import config_map
from tiphys.api import core_v1
from tiphys.apiserver.registry.codeditems import CodedItems
from tiphys.machinery.protobuf import MEDIA_TYPE
from tiphys.store.cache import Entry
from tiphys.testing import LocalCluster

MAPS = "/api/v1/namespaces/default/configmaps"


def entry() -> Entry:
    return Entry("/configmaps/default/a", 1, b"{}", ())


async def rounds(count: int = 20) -> None:
    """Of the event loop."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_items_go_when_no_list_takes_any_and_other_forms_stay() -> None:
    items, kept, converted = CodedItems(unused=0.0), [entry() for _ in range(2500)], entry()
    converted.shown = {"v2": b"other"}
    items.use()
    for one in [converted, *kept]:
        items.keep(one, "v1", b"item")
    assert items.get(kept[0], "v1") == b"item"
    await rounds()
    assert not any(one.shown for one in kept)
    assert converted.shown == {"v2": b"other"}


async def test_what_is_kept_is_bounded_until_it_is_dropped() -> None:
    items, first, second = CodedItems(most=10, unused=0.0), entry(), entry()
    items.use()
    items.keep(first, "v1", b"12345678")
    items.keep(second, "v1", b"12345678")
    assert items.get(first, "v1") and not items.get(second, "v1")
    await rounds()
    assert not items.get(first, "v1")
    items.keep(second, "v1", b"12345678")
    assert items.get(second, "v1")


async def test_a_list_takes_the_items_of_the_one_before(server: LocalCluster) -> None:
    await server.client.create(config_map("a"))
    for _ in range(2):
        await server.client.request("GET", MAPS, accept=MEDIA_TYPE)
    [stored] = server.server.server.registry.entries(core_v1.ConfigMap, "default")
    assert stored.shown is not None and len(stored.shown) == 1
    items = server.server.server.registry.coded_items
    assert [kept for kept, _ in items._kept] == [stored]

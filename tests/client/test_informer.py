"""Copies of what a server holds."""

from __future__ import annotations

import asyncio

from tiphys.api import core_v1
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.client.informer import Informers
from tiphys.testing import LocalCluster


async def test_a_new_list_shows_what_was_written_before_it_was_asked_for(
    server: LocalCluster,
) -> None:
    informer = Informers(server.client, server.tasks).of(core_v1.ConfigMap)
    await informer.synced.wait()
    for number in range(20):
        await server.client.create(
            core_v1.ConfigMap(metadata=ObjectMeta(name=f"c{number}", namespace="default"))
        )
        async with asyncio.timeout(10):
            await asyncio.gather(informer.relisted(), informer.relisted())
        assert informer.get(f"default/c{number}") is not None
    await server.client.delete(core_v1.ConfigMap, "c0", "default")
    await server.eventually(lambda: informer.get("default/c0") is None)  # and it watches on

"""An operator against a server: definitions, owned objects, statuses, finalizers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.operator.echo import Echo, Echoing, EchoSpec, Line
from tiphys.api import core_v1
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.machinery.errors import StatusError
from tiphys.operator import Operator, definition
from tiphys.testing import LocalCluster


@pytest.fixture
async def cluster() -> AsyncIterator[LocalCluster]:
    async with LocalCluster() as running:
        operator = Operator("echo-operator", Echoing, definitions=(definition(Echo),))
        await operator.start(running.client, running.tasks)
        yield running


def echo(name: str = "e", *texts: str, **spec: Any) -> Echo:
    lines = [Line(name=str(number), text=text) for number, text in enumerate(texts)]
    return Echo(
        metadata=ObjectMeta(name=name, namespace="default"), spec=EchoSpec(lines=lines, **spec)
    )


async def said(cluster: LocalCluster, text: str) -> core_v1.ConfigMap:
    async def heard() -> core_v1.ConfigMap | None:
        try:
            found = await cluster.client.get(core_v1.ConfigMap, "e", "default")
        except StatusError:
            return None
        return found if found.data.get("said") == text else None

    found: core_v1.ConfigMap = await cluster.eventually(heard)
    return found


async def test_the_world_follows_the_object(cluster: LocalCluster) -> None:
    made = await cluster.client.create(echo("e", "good", "morning"))
    owned = await said(cluster, "good morning")
    assert owned.metadata.owner_references[0].uid == made.metadata.uid

    async def told() -> bool:
        status = (await cluster.client.get(Echo, "e", "default")).status
        return status.said == "good morning" and status.conditions[0].status == "True"

    await cluster.eventually(told)


async def test_what_is_owned_is_mended(cluster: LocalCluster) -> None:
    await cluster.client.create(echo("e", "hello"))
    await said(cluster, "hello")
    await cluster.client.patch(core_v1.ConfigMap, "e", {"data": {"said": "goodbye"}}, "default")
    await said(cluster, "hello")


async def test_nothing_goes_before_it_is_cleaned_up(cluster: LocalCluster) -> None:
    Echoing.gone.clear()
    await cluster.client.create(echo("e", "hello"))
    await said(cluster, "hello")
    await cluster.client.delete(Echo, "e", "default")

    async def gone() -> bool:
        return not (await cluster.client.list(Echo, "default")).items

    await cluster.eventually(gone)
    assert Echoing.gone == ["e", "e"], "it was asked again until it was done"


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (echo("e", "secret"), "a line keeps no secrets"),
        (echo("silence", "hello"), "it must be heard"),
        (echo("e", "x" * 21), "spec.lines[0].text: Too long"),
        (echo("e", *"abcdef"), "spec.lines: Too many"),
    ],
)
async def test_the_server_refuses_what_the_declaration_forbids(
    cluster: LocalCluster, made: Echo, message: str
) -> None:
    with pytest.raises(StatusError) as refused:
        await cluster.client.create(made)
    assert refused.value.code == 422 and message in refused.value.status.message


async def test_a_quiet_object_is_written_no_more(cluster: LocalCluster) -> None:
    await cluster.client.create(echo("e", "hello"))
    await said(cluster, "hello")

    async def settled() -> bool:
        before = (await cluster.client.get(Echo, "e", "default")).metadata.resource_version
        await cluster.client.patch(core_v1.ConfigMap, "e", {"data": {"x": "y"}}, "default")
        await said(cluster, "hello")
        after = (await cluster.client.get(Echo, "e", "default")).metadata.resource_version
        return before == after

    await cluster.eventually(settled)

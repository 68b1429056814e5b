"""ETags of lists: who has the list is told so, and nobody is told so who has another."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tiphys.addons.echo.types import Echo, EchoSpec
from tiphys.api import core_v1
from tiphys.api.apiextensions_v1 import JSONSchemaProps
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.client.client import Known
from tiphys.operator import definition
from tiphys.operator.run import install
from tiphys.testing import LocalCluster

MAPS = "/api/v1/namespaces/default/configmaps"
TABLE = "application/json;as=Table;g=meta.k8s.io;v=v1"


class Lists:
    """A reader that keeps what it was given last."""

    def __init__(self, cluster: LocalCluster) -> None:
        self.cluster, self.client = cluster, cluster.client
        self.known = Known()

    async def unchanged(self, path: str = MAPS, accept: str = "application/json") -> bool:
        await self.client.request("GET", path, known=self.known, accept=accept)
        return self.known.unchanged

    async def make(self, name: str, **labels: str) -> core_v1.ConfigMap:
        meta = ObjectMeta(name=name, namespace="default", labels=labels)
        return await self.client.create(core_v1.ConfigMap(metadata=meta))


@pytest.fixture
async def lists() -> AsyncIterator[Lists]:
    async with LocalCluster() as cluster:
        yield Lists(cluster)


async def test_a_list_that_is_the_same_is_not_sent_again(lists: Lists) -> None:
    await lists.make("one")
    assert not await lists.unchanged()
    before = lists.known.data
    assert await lists.unchanged() and lists.known.data is before and b'"one"' in before


async def test_what_happens_to_other_resources_changes_nothing(lists: Lists) -> None:
    await lists.unchanged()
    secret = core_v1.Secret(metadata=ObjectMeta(name="x", namespace="default"))
    await lists.client.create(secret)
    assert await lists.unchanged()


async def test_every_change_is_seen(lists: Lists) -> None:
    await lists.unchanged()
    made = await lists.make("one")
    assert not await lists.unchanged()
    made.data = {"a": "b"}
    await lists.client.update(made)
    assert not await lists.unchanged()
    await lists.client.delete(core_v1.ConfigMap, "one", "default")
    assert not await lists.unchanged()
    assert await lists.unchanged()


@pytest.mark.parametrize(
    "other", ["?labelSelector=a", "?fieldSelector=metadata.name%3Da", "?limit=1", "/../secrets"]
)
async def test_the_etag_of_one_list_is_no_other_lists(lists: Lists, other: str) -> None:
    await lists.make("one")
    await lists.unchanged()
    path = MAPS.replace("configmaps", "secrets") if other == "/../secrets" else MAPS + other
    assert not await lists.unchanged(path)


async def test_a_form_is_a_list_of_its_own_and_a_table_has_no_etag(lists: Lists) -> None:
    await lists.make("one")
    await lists.unchanged()
    assert not await lists.unchanged(accept="application/yaml")
    assert not await lists.unchanged(accept=TABLE)
    assert lists.known.etag == ""


async def test_pages_and_the_past_have_no_etag(lists: Lists) -> None:
    made = await lists.make("one")
    for query in ("limit=1", f"resourceVersion={made.metadata.resource_version}"):
        await lists.unchanged(f"{MAPS}?{query}")
        assert lists.known.etag == ""


async def test_a_large_list_has_one(lists: Lists) -> None:
    for index in range(120):
        await lists.make(f"map-{index}")
    assert not await lists.unchanged()
    assert await lists.unchanged()


async def test_a_definition_that_changes_changes_its_lists(lists: Lists) -> None:
    echo = definition(Echo)
    await install(lists.client, (echo,), "test")
    await lists.client.create(
        Echo(metadata=ObjectMeta(name="x", namespace="default"), spec=EchoSpec(text="hi"))
    )
    path = f"/apis/{echo.spec.group}/v1/namespaces/default/echoes"
    await lists.unchanged(path)
    assert await lists.unchanged(path)
    schema = echo.spec.versions[0].schema.open_apiv3_schema
    schema.properties["spec"].properties["more"] = JSONSchemaProps(type="string", default="much")
    await lists.client.apply(echo, manager="test", force=True)

    async def defaulted() -> bool:
        await lists.unchanged(path)
        return b'"more":"much"' in lists.known.data

    await lists.cluster.eventually(defaulted)

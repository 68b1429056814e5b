"""Whole tests: real locust on a real shop, and everything as before when they are over."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.addons.loadtest.world import World, has_locust, production, world
from tiphys.addons.loadtest.types import LoadTest
from tiphys.addons.optional import NAMESPACE
from tiphys.api import apps_v1, core_v1
from tiphys.client.client import MERGE
from tiphys.machinery import conditions
from tiphys.machinery.errors import StatusError

_PATIENCE = 600.0  # seconds: only a busy machine needs as many
needs_locust = pytest.mark.skipif(not has_locust(), reason="needs PyPI's locust")


def said(test: LoadTest, type_: str) -> Any:
    found = conditions.find(test.status.conditions, type_)
    assert found is not None, test.status
    return found


async def snapshots(made: World) -> list[str]:
    listed = (await made.client.list(core_v1.ConfigMap, NAMESPACE)).items
    return [one.metadata.name for one in listed if "snapshot" in one.data]


@needs_locust
@pytest.mark.slow
async def test_a_test_meets_its_target_and_leaves_everything_as_it_was(tmp_path: Path) -> None:
    async with world(tmp_path) as made, production(made):
        before = await made.as_it_is()
        copied = {"useProductionVersions": True, "production": {"secretName": "production"}}
        await made.client.create(made.test(**copied, periodSeconds=8, plateauMinutes=1.6))
        await made.until("Loading", _PATIENCE)
        shop = await made.client.get(apps_v1.Deployment, "shop", "default")
        assert shop.spec.replicas == 3
        assert shop.spec.template.spec.containers[0].image == "shop:1"
        async with aiohttp.ClientSession() as session:
            page = await session.get(f"http://127.0.0.1:{made.port}/metrics")
            assert 'version="1"' in await page.text()
        await where_pods_are(made)
        done = await made.until("Completed", _PATIENCE)
        assert said(done, "OnTarget").status == "True", done.status.samples
        # Four seconds are measured at a time, on a machine that does other things too: the mean is
        # what is judged. What the loop does without noise is in test_control.
        late = [one.orders_per_minute / 900 - 1 for one in done.status.samples[5:]]
        assert len(late) >= 4 and all(abs(off) <= 0.25 for off in late), late
        assert await made.as_it_is() == before
        assert said(done, "TestDataRemoved").status == "True" and not made.state.exists()
        assert await snapshots(made) == []


async def where_pods_are(made: World) -> None:
    """Pods of the system are on its pool alone."""
    nodes = (await made.client.list(core_v1.Node)).items
    pools = {one.metadata.name: one.metadata.labels["pool"] for one in nodes}

    async def there() -> bool:
        pods = [
            one
            for one in await made.cluster.pods(labels="app=shop")
            if not one.metadata.deletion_timestamp
        ]
        return {pools.get(one.spec.node_name) for one in pods} == {"system"}

    await made.cluster.eventually(there)


@needs_locust
@pytest.mark.slow
async def test_a_test_that_is_deleted_half_way_leaves_nothing(tmp_path: Path) -> None:
    async with world(tmp_path) as made:
        before = await made.as_it_is()
        await made.client.create(made.test())
        await made.until("Loading", _PATIENCE)
        await made.cluster.eventually(made.state.exists, _PATIENCE)
        assert await made.as_it_is() != before
        await made.client.delete(LoadTest, "evening", "default")
        await made.cluster.eventually(made.gone, _PATIENCE)
        assert await made.as_it_is() == before
        assert not made.state.exists() and await snapshots(made) == []


@needs_locust
@pytest.mark.slow
async def test_a_conductor_that_is_killed_leaves_it_to_the_next(tmp_path: Path) -> None:
    async with world(tmp_path) as made:
        before = await made.as_it_is()
        await made.client.create(made.test(plateauMinutes=1.5))
        loading = await made.until("Loading", _PATIENCE)
        await made.cluster.eventually(made.state.exists, _PATIENCE)
        await made.kill()
        assert await made.as_it_is() != before
        # As if nobody had conducted for a minute, which is more than five periods.
        long_ago = {"phaseStartedAt": loading.status.phase_started_at - 60, "changedAt": 0}
        await made.client.patch(
            LoadTest, "evening", {"status": long_ago}, "default", "status", media=MERGE
        )
        await made.conduct()
        await made.until("Completed", _PATIENCE)  # it went on from where it was
        assert await made.as_it_is() == before
        assert not made.state.exists() and await snapshots(made) == []


@needs_locust
@pytest.mark.slow
async def test_a_test_that_is_deleted_while_nobody_conducts_is_undone_later(tmp_path: Path) -> None:
    async with world(tmp_path) as made:
        before = await made.as_it_is()
        await made.client.create(made.test())
        await made.until("Loading", _PATIENCE)
        await made.cluster.eventually(made.state.exists, _PATIENCE)
        await made.kill()
        await made.client.delete(LoadTest, "evening", "default")
        await made.conduct()
        await made.cluster.eventually(made.gone, _PATIENCE)
        assert await made.as_it_is() == before and not made.state.exists()


async def test_what_cannot_be_tested_is_refused_before_anything_changes(tmp_path: Path) -> None:
    async with world(tmp_path, nodes=1, inside=True) as made:
        before = await made.as_it_is()
        with pytest.raises(StatusError) as refused:
            await made.client.create(made.test(targetOrdersPerMinute=0))
        assert "spec.targetOrdersPerMinute" in str(refused.value)
        apart = ({"applications": [{"name": "shop"}, {"name": "nobody"}]}, "UnknownApplication")
        local = [{"name": "../etc", "substrate": "Process"}]
        with pytest.raises(StatusError):
            await made.client.create(made.test(applications=local))
        local = [{"name": "nobody", "substrate": "Process"}]
        copied = {"useProductionVersions": True, "production": {"secretName": "none"}}
        cases = (apart, ({"applications": local}, "UnknownApplication"), (copied, "NoProduction"))
        for number, (spec, reason) in enumerate(cases):
            await made.client.create(made.test(f"test-{number}", **spec))
            found = await made.until("Refused", name=f"test-{number}")
            assert said(found, "Accepted").reason == reason
        assert await made.as_it_is() == before and await snapshots(made) == []


@pytest.mark.slow
async def test_users_live_on_the_nodes_for_the_load(tmp_path: Path) -> None:
    """A system that is never ready: the test fails, and is undone."""
    async with world(tmp_path, inside=True) as made:
        before = await made.as_it_is()
        generator = {"locustfile": "customers", "host": "http://shop"}
        large = {"requests": {"cpu": "20"}}  # two nodes of the system's pool take one each
        applications = [{"name": "shop", "replicas": 4, "resources": large}]
        spec = {"generator": generator, "applications": applications, "cleanup": []}
        await made.client.create(made.test(**spec, readyTimeoutMinutes=0.2))
        nodes = (await made.client.list(core_v1.Node)).items
        pools = {one.metadata.name: one.metadata.labels["pool"] for one in nodes}

        async def placed() -> bool:
            pods = [one for one in await made.cluster.pods() if one.spec.node_name]
            where = {
                (one.metadata.labels.get("app", "generator"), pools[one.spec.node_name])
                for one in pods
                if not one.metadata.deletion_timestamp and is_of_the_test(one)
            }
            return where == {("shop", "system"), ("generator", "load")}

        await made.cluster.eventually(placed, _PATIENCE)
        failed = await made.until("Failed", _PATIENCE)
        assert "not ready in time: shop has" in failed.status.failure
        assert await made.as_it_is() == before


def is_of_the_test(pod: core_v1.Pod) -> bool:
    """Rather than of before."""
    return bool(pod.spec.node_selector)

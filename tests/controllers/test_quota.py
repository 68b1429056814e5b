"""What quotas count, and what frees something."""

from __future__ import annotations

import json
from typing import Any

import pytest
import pytest_asyncio

from tests.apiserver.builders import cron, definition
from tests.builders import config_map, pod
from tests.controllers.bench import Bench
from tests.controllers.builders import ended, running
from tiphys.api import core_v1
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.client.client import Client
from tiphys.controllers.quota import (
    QuotaController,
    counted_by,
    has_shrunk,
    is_freed,
    new_status,
    resources_named,
)
from tiphys.machinery.errors import StatusError


@pytest.mark.parametrize(
    ("key", "resource"),
    [
        ("cpu", "pods"),
        ("requests.cpu", "pods"),
        ("limits.memory", "pods"),
        ("pods", "pods"),
        ("configmaps", "configmaps"),
        ("count/deployments.apps", "deployments.apps"),
        ("services.loadbalancers", "services"),
        ("requests.storage", "persistentvolumeclaims"),
        ("gold.storageclass.storage.k8s.io/requests.storage", "persistentvolumeclaims"),
        ("gold.storageclass.storage.k8s.io/persistentvolumeclaims", "persistentvolumeclaims"),
        ("requests.example.com/gpu", "pods"),
        ("count/pods", "pods"),
        ("gpu.deviceclass.resource.k8s.io/devices", "resourceclaims.resource.k8s.io"),
    ],
)
def test_a_key_counts_objects_of_one_resource(key: str, resource: str) -> None:
    assert counted_by(key) == resource
    limits = core_v1.ResourceQuota()
    limits.spec.hard = {key: "1", "secrets": "1"}  # type: ignore[dict-item]
    claims = {"resourceclaims.resource.k8s.io"} if "/gpu" in key else set()
    assert resources_named(limits) == {resource, "secrets"} | claims


def sized(cpu: str) -> core_v1.Pod:
    resources = {"requests": {"cpu": cpu}}
    return pod(containers=[{"name": "c", "image": "i", "resources": resources}])


@pytest.mark.parametrize(
    ("name", "old", "new", "freed"),
    [
        ("pods", sized("1"), sized("1"), False),
        ("pods", sized("1"), sized("2"), True),
        ("pods", running("p"), ended("p"), True),
        ("pods", ended("p"), ended("p"), False),
        ("configmaps", config_map(a="b"), config_map(), False),
    ],
)
def test_a_change_frees_when_it_uses_something_else(
    name: str, old: Any, new: Any, freed: bool
) -> None:
    assert is_freed(name, old, new) is freed


def test_what_is_used_is_said_of_all_that_is_limited() -> None:
    limits = core_v1.ResourceQuota()
    limits.spec.hard = {"pods": "4", "secrets": "2"}  # type: ignore[dict-item]
    status = new_status(limits, [{"pods": 10**9, "cpu": 5}, {"pods": 10**9}])
    assert status.hard == limits.spec.hard and status.used == {"pods": "2", "secrets": "0"}


@pytest.mark.parametrize(
    ("before", "after", "shrunk"),
    [
        ({"pods": "3"}, {"pods": "2"}, True),
        ({"pods": "2"}, {"pods": "3"}, False),
        ({"pods": "2"}, {"pods": "2"}, False),
        ({"pods": "2"}, {}, True),
    ],
)
def test_less_than_before_is_looked_at_again(
    before: dict[str, Any], after: dict[str, Any], shrunk: bool
) -> None:
    statuses = [core_v1.ResourceQuotaStatus(used=used) for used in (before, after)]
    assert has_shrunk(*statuses) is shrunk


# --- step by step ---

together = pytest.mark.asyncio(loop_scope="package")


@pytest_asyncio.fixture(loop_scope="package")
async def quotas(bench: Bench) -> QuotaController:
    return bench.start(QuotaController)


def limits(**hard: str) -> core_v1.ResourceQuota:
    made = core_v1.ResourceQuota(metadata=ObjectMeta(name="q"))
    made.spec.hard = dict(hard)  # type: ignore[arg-type]
    return made


async def used(bench: Bench) -> dict[str, str]:
    found = await bench.get(core_v1.ResourceQuota, "q")
    assert found is not None
    return {name: str(amount) for name, amount in found.status.used.items()}


@together
async def test_what_is_there_is_counted_and_less_is_looked_at_again_soon(
    bench: Bench, quotas: QuotaController
) -> None:
    await bench.add(config_map("a"))
    await bench.add(sized("1"))
    await bench.add(limits(configmaps="9", pods="3"))
    assert await bench.step(quotas, "q") == 300
    assert await used(bench) == {"configmaps": "1", "pods": "1"}
    assert await bench.step(quotas, "q") == 300, "nothing has changed"
    await bench.client.delete(core_v1.ConfigMap, "a", bench.namespace)
    await quotas._informers["configmaps"].relisted()
    assert await bench.step(quotas, "q") == 1
    assert await used(bench) == {"configmaps": "0", "pods": "1"}


@together
async def test_admission_that_counted_meanwhile_is_not_overwritten(
    bench: Bench, quotas: QuotaController
) -> None:
    made = await bench.add(limits(configmaps="9"))
    await bench.seen()
    with bench.unseen(core_v1.ResourceQuota):
        await bench.change(made, metadata={"labels": {"a": "b"}})
        assert await quotas.reconcile(bench.key("q")) not in (1, 300)
    assert await used(bench) == {}


@together
async def test_a_resource_that_is_not_served_counts_nothing(
    bench: Bench, quotas: QuotaController
) -> None:
    await bench.add(limits(secrets="1", **{"count/tabs.example.com": "9"}))
    assert await bench.step(quotas, "q") == 300
    assert await used(bench) == {"secrets": "0", "count/tabs.example.com": "0"}
    assert await quotas._objects("tabs.example.com") is None
    assert await bench.step(quotas, "none") is None


@together
async def test_what_leads_to_a_count(bench: Bench, quotas: QuotaController) -> None:
    made = await bench.add(limits(pods="3", secrets="1"))
    await bench.step(quotas, "q")
    assert await bench.queued(quotas) == ["q"], "it is new"
    pods = await bench.add(sized("1"))
    await bench.step(quotas, "q")
    await bench.queued(quotas)
    await bench.change(made, metadata={"labels": {"a": "b"}})
    assert await bench.queued(quotas) == []
    await bench.change(made, spec={"hard": {"pods": "4"}})
    assert await bench.queued(quotas) == ["q"]
    other = core_v1.Pod(metadata=ObjectMeta(name="o"), spec=sized("1").spec)
    await bench.add(other)
    assert await bench.queued(quotas) == [], "admission has counted it"
    await bench.change(pods, metadata={"labels": {"a": "b"}})
    assert await bench.queued(quotas) == []
    await bench.say(pods, phase="Failed")
    assert await bench.queued(quotas) == ["q"]
    await bench.remove(pods, grace=0)
    assert await bench.queued(quotas) == ["q"]


@together
async def test_a_pod_that_moves_out_of_a_scope_leads_to_a_count(
    bench: Bench, quotas: QuotaController
) -> None:
    scoped = limits(pods="3")
    scoped.spec.scopes = ["NotTerminating"]
    await bench.add(scoped)
    await bench.step(quotas, "q")
    one = await bench.add(sized("1"))
    await bench.step(quotas, "q")
    assert await used(bench) == {"pods": "1"}
    await bench.queued(quotas)
    await bench.change(one, spec={"activeDeadlineSeconds": 5})
    assert await bench.queued(quotas) == ["q"]
    await bench.step(quotas, "q")
    assert await used(bench) == {"pods": "0"}


@together
async def test_custom_resources_are_counted_while_they_are_served(
    bench: Bench, quotas: QuotaController
) -> None:
    name = "count/crontabs.stable.example.com"
    await bench.add(limits(**{name: "9"}))
    await bench.step(quotas, "q")
    assert await used(bench) == {name: "0"}, "nobody serves it"
    crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    client: Client = bench.client
    await client.request("POST", crds, json.dumps(definition()).encode())
    crons = f"/apis/stable.example.com/v1/namespaces/{bench.namespace}/crontabs"

    async def made() -> bool:
        try:
            await client.request("POST", crons, json.dumps(cron()).encode())
        except StatusError:
            return False
        return True

    await bench.server.eventually(made)
    await bench.step(quotas, "q")
    assert await used(bench) == {name: "1"}
    await client.request("DELETE", f"{crds}/crontabs.stable.example.com")

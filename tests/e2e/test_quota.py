"""Quotas, counted by admission and by their controller."""

from __future__ import annotations

from typing import Any

import pytest

from tests.builders import config_map
from tests.e2e.clusters import ready
from tiphys.api import core_v1
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.machinery.errors import StatusError
from tiphys.testing import LocalCluster


async def test_a_quota_keeps_what_admission_counted(cluster: LocalCluster) -> None:
    await ready(cluster)
    quota = core_v1.ResourceQuota(metadata=ObjectMeta(name="few", namespace="default"))
    quota.spec.hard = {"configmaps": "4"}
    await cluster.client.create(quota)

    async def counted() -> Any:
        return (await cluster.client.get(core_v1.ResourceQuota, "few", "default")).status.used.get(
            "configmaps"
        )

    async def has_root_certificate() -> bool:
        return bool(await counted() == "1")

    await cluster.eventually(has_root_certificate)
    for number in range(3):
        await cluster.client.create(config_map(f"c-{number}"))
        assert await counted() == str(number + 2)
    with pytest.raises(StatusError) as refused:
        await cluster.client.create(config_map("over"))
    counts = "requested: configmaps=1, used: configmaps=4, limited: configmaps=4"
    assert f"exceeded quota: few, {counts}" in str(refused.value)
    await cluster.client.delete(core_v1.ConfigMap, "c-0", "default")

    async def freed() -> bool:
        return bool(await counted() == "3")

    await cluster.eventually(freed)

"""Helm on hollow nodes, with a hook and a test of a chart."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from tiphys.api import apps_v1
from tiphys.testing import LocalCluster

CHART = str(Path(__file__).parent / "chart")


async def helm(*args: str) -> str:
    started = await asyncio.create_subprocess_exec(
        "helm", *args, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, error = await started.communicate()
    assert started.returncode == 0, error.decode()
    return out.decode()


@pytest.mark.needs("helm")
async def test_a_release_from_its_install_to_its_end(cluster: LocalCluster, way_in: str) -> None:
    wait = ("--wait", "--timeout", "30s")

    async def replicas() -> int | None:
        return (await cluster.client.get(apps_v1.Deployment, "berth", "default")).spec.replicas

    await helm("install", "berth", CHART, *wait)
    await helm("upgrade", "berth", CHART, "--set", "replicas=3", *wait)
    assert await replicas() == 3
    assert "Succeeded" in await helm("test", "berth", "--timeout", "30s")
    await helm("rollback", "berth", "1", *wait)
    assert await replicas() == 1
    history = json.loads(await helm("history", "berth", "-o", "json"))
    assert [row["status"] for row in history] == ["superseded", "superseded", "deployed"]
    await helm("uninstall", "berth", *wait)
    assert (await cluster.client.list(apps_v1.Deployment, "default")).items == []

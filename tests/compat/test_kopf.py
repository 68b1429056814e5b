"""An operator written with kopf: it makes a child for each object, and lets none go before its handler has run."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.apiserver.test_custom import CRONS, call, cron, definition, established
from tiphys.testing import LocalCluster


async def test_an_operator_makes_reports_and_lets_go(cluster: LocalCluster, way_in: str) -> None:
    kopf = pytest.importorskip("kopf")
    shape = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    await established(cluster, definition(schema={"openAPIV3Schema": shape}, subresources={"status": {}}))
    stop, gone = asyncio.Event(), asyncio.Event()

    @kopf.on.create("stable.example.com", "v1", "crontabs")
    async def made(body: Any, name: str, **_: Any) -> dict[str, str]:
        child: dict[str, Any] = {"apiVersion": "v1", "kind": "ConfigMap", "data": {"of": name}}
        kopf.adopt(child, owner=body)
        await call(cluster, "POST", "/api/v1/namespaces/default/configmaps", child)
        return {"of": name}

    @kopf.on.delete("stable.example.com", "v1", "crontabs")
    async def unmade(**_: Any) -> None:
        gone.set()

    operator = kopf.operator(standalone=True, namespaces=["default"], stop_flag=stop)
    running = asyncio.ensure_future(operator)
    await call(cluster, "POST", CRONS, cron("one"))

    async def reported() -> bool:
        return "made" in (await call(cluster, "GET", f"{CRONS}/one")).get("status", {})

    await cluster.eventually(reported)
    children = await call(cluster, "GET", "/api/v1/namespaces/default/configmaps")
    assert [c["data"] for c in children["items"] if c["metadata"].get("ownerReferences")] == [{"of": "one"}]
    await call(cluster, "DELETE", f"{CRONS}/one")
    await asyncio.wait_for(gone.wait(), 20)
    stop.set()
    await running

"""An operator written with kopf, run as its users run it."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from tests.apiserver.builders import CRONS, call, cron, definition, established
from tiphys.testing import LocalCluster

OPERATOR = str(Path(__file__).parent / "operator.py")


async def test_an_operator_reports_and_lets_go(cluster: LocalCluster, way_in: str) -> None:
    pytest.importorskip("kopf")
    shape = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    await established(
        cluster, definition(schema={"openAPIV3Schema": shape}, subresources={"status": {}})
    )
    operator = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "kopf", "run", "--standalone", "-n", "default", OPERATOR
    )
    try:
        await call(cluster, "POST", CRONS, cron("one"))

        async def reported() -> bool:
            return "made" in (await call(cluster, "GET", f"{CRONS}/one")).get("status", {})

        await cluster.eventually(reported, 30)
        dying = await call(cluster, "DELETE", f"{CRONS}/one")
        assert dying["metadata"]["finalizers"]

        async def gone() -> bool:
            return (await call(cluster, "GET", CRONS))["items"] == []

        await cluster.eventually(gone, 30)
    finally:
        operator.terminate()
        await operator.wait()

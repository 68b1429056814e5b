"""Triggers that ask what they must not, and formulas that want everything."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.addons.keda.world import Scaled, keda_cluster, scaled_object, trigger
from tiphys.addons.keda.formula import FormulaError, compiled
from tiphys.addons.keda.locating import LocationError, value_in
from tiphys.addons.keda.reaching import Reach, ReachError
from tiphys.testing import LocalCluster

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def keda() -> AsyncIterator[LocalCluster]:
    async with keda_cluster() as cluster:
        yield cluster


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "[::1]", "169.254.169.254", "0.0.0.0", "127.1", "0x7f000001"]
)
async def test_a_trigger_does_not_reach_this_machine_alone(keda: LocalCluster, host: str) -> None:
    connected = asyncio.Event()
    server = await asyncio.start_server(lambda *_: connected.set(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    name = "n" + "".join(letter for letter in host if letter.isalnum())
    url = f"http://{host}:{port}/"
    asks = trigger("metrics-api", url=url, valueLocation="a", targetValue="1")
    scaled = await Scaled.made(keda, scaled_object(name, asks, pollingInterval=1))
    await scaled.says("Ready", "False", "TriggerError")
    assert not connected.is_set()
    server.close()


async def test_a_service_does_not_lead_there_either(keda: LocalCluster) -> None:
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "inside", "namespace": "default"},
        "spec": {"type": "ExternalName", "externalName": "localhost", "ports": [{"port": 80}]},
    }
    await keda.client.create(service)
    with pytest.raises(ReachError, match="of the machine that the add-on runs on"):
        await Reach(keda.client).find("inside.default", 80)


FORMULAS = [
    "1..100000000",
    "sum(map(1..9999, sum(map(1..9999, #))))",
    "(" * 3000 + "1" + ")" * 3000,
    "-" * 4000 + "1",
    "9**9**9**9",
    "let a = [1]; " * 300 + "1",
    "__import__('os').system('id')",
    "[].__class__",
    "'a' * 9999999999",
    "9" * 4000,
]


@pytest.mark.parametrize("text", FORMULAS)
async def test_a_formula_has_bounds(text: str) -> None:
    started = time.process_time()
    with pytest.raises(FormulaError):
        compiled(text, ["a"])
    assert time.process_time() - started < 0.2


BOMB = b'<!DOCTYPE a [<!ENTITY a "xxxxxxxx"><!ENTITY b "&a;&a;&a;&a;">]><a>&b;</a>'


@pytest.mark.parametrize(
    ("body", "form"),
    [(BOMB, "xml"), (b"[" * 100_000, "json"), (b"- " * 300_000, "yaml"), (b"\xff\xfe", "json")],
)
async def test_answers_that_are_none(body: bytes, form: str) -> None:
    with pytest.raises(LocationError):
        value_in(body, "a", form)

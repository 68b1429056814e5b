"""One large object holds up nobody: what is made of it is written piece by piece, and coded aside."""

from __future__ import annotations

import asyncio
import json

import pytest

from tiphys.apiserver.eventloop.aside import weigh_object
from tiphys.apiserver.http import watching
from tiphys.apiserver.http.bulk import PIECE
from tiphys.client.client import MERGE
from tiphys.testing import LocalCluster

CONFIG = "/api/v1/namespaces/default/configmaps"
PROTOBUF = "application/vnd.kubernetes.protobuf"
LARGE = "x" * 900_000


@pytest.fixture
async def turns(server: LocalCluster, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Whose turns were taken, once a large object is there."""
    body = json.dumps({"metadata": {"name": "large"}, "data": {"a": LARGE}}).encode()
    await server.client.request("POST", CONFIG, body)
    taken: list[str] = []
    take = server.server.registry.turns.take

    async def noted(flow: str) -> None:
        taken.append(flow)
        await take(flow)

    monkeypatch.setattr(server.server.registry.turns, "take", noted)
    return taken


async def test_a_large_object_goes_in_pieces(server: LocalCluster, turns: list[str]) -> None:
    answer = await server.client.request("GET", f"{CONFIG}/large")
    assert json.loads(answer)["data"]["a"] == LARGE
    assert len(turns) == -(-len(answer) // PIECE) and set(turns) == {"kubernetes-admin"}


async def test_large_objects_are_coded_in_every_form(
    server: LocalCluster, turns: list[str]
) -> None:
    plain = await server.client.request("GET", f"{CONFIG}/large", accept=PROTOBUF)
    listed = await server.client.request("GET", CONFIG, accept=PROTOBUF)
    assert LARGE.encode() in plain and LARGE.encode() in listed
    table = "application/json;as=Table;g=meta.k8s.io;v=v1"
    rows = json.loads(await server.client.request("GET", CONFIG, accept=table))["rows"]
    assert [row["object"]["metadata"]["name"] for row in rows] == ["large"]


TABLE = "application/json;as=Table;g=meta.k8s.io;v=v1"


@pytest.mark.parametrize(
    ("accept", "shown"),
    [(f"{PROTOBUF};stream=watch", LARGE.encode()), (TABLE, b'"cells":["large"')],
    ids=["protobuf", "table"],
)
async def test_watches_show_large_objects_in_every_form(
    server: LocalCluster,
    turns: list[str],
    monkeypatch: pytest.MonkeyPatch,
    accept: str,
    shown: bytes,
) -> None:
    """Those that are there, and those that change; each is made where nobody waits for it."""
    made: list[int] = []

    def weigh(size: int) -> None:
        made.append(size)
        weigh_object(size)

    monkeypatch.setattr(watching, "weigh_object", weigh)
    path = f"{CONFIG}?watch=1&timeoutSeconds=2"
    watch = asyncio.ensure_future(server.client.request("GET", path, accept=accept))
    await server.eventually(lambda: made)
    body = json.dumps({"metadata": {"labels": {"a": "b"}}}).encode()
    await server.client.request("PATCH", f"{CONFIG}/large", body, content=MERGE)
    seen = await watch
    assert seen.count(shown) == 2
    assert len(made) == 2 and min(made) > len(LARGE)

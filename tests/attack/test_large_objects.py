"""One large object holds up nobody: what is made of it is written piece by piece, and coded aside."""

from __future__ import annotations

import json

import pytest

from tiphys.apiserver.http.bulk import PIECE
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

"""What a token for nodes, or somebody else's, does not get of the keys of a control plane."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cluster.builders import token
from tests.machinery.builders import TOKEN
from tiphys.api import core_v1
from tiphys.client.client import Client
from tiphys.client.config import Config
from tiphys.cluster import credentials, sharing
from tiphys.cluster.state import Cluster
from tiphys.machinery.bootstraptokens import Token
from tiphys.machinery.errors import StatusError
from tiphys.testing import LocalCluster

OTHER = Token("ffffff", "0123456789abcdef")
KEY = "11" * 32


async def status(server: LocalCluster, who: Token, method: str = "GET") -> int:
    """Of a request for the keys that belong to TOKEN."""
    async with Client(Config(server.url, ca=server.authority.path, token=who.text)) as client:
        try:
            await client.request(method, sharing.path(TOKEN.id))
        except StatusError as error:
            return error.code
    return 200


@pytest.fixture
def shared(tmp_path: Path) -> Cluster:
    made = Cluster("shared", str(tmp_path), store="etcd", machine_address="127.0.0.1")
    made.pki.mkdir()
    credentials.ensure(made)
    return made


@pytest.mark.slow
async def test_the_token_that_was_made_for_them_reads_the_keys_and_no_other(
    shared: Cluster,
) -> None:
    async with LocalCluster(controllers=True) as server:
        for one in (TOKEN, OTHER):
            await token(server, one)
        name = f"bootstrap-token-{TOKEN.id}"
        owner = await server.client.get(core_v1.Secret, name, "kube-system")
        made = sharing.objects(shared, sharing.Owner(TOKEN.id, name, owner.metadata.uid), KEY)
        for path, obj in made:
            await server.client.request("POST", path, json.dumps(obj).encode())
        assert await status(server, TOKEN) == 200
        assert await status(server, OTHER) == 403
        assert await status(server, TOKEN, "DELETE") == 403
        await server.client.delete(owner)

        async def is_gone() -> bool:
            try:
                await server.client.request("GET", sharing.path(TOKEN.id))
            except StatusError as error:
                return error.code == 404
            return False

        await server.eventually(is_gone)

"""Requests leave nothing behind that only the collector of cycles could free: it stops everything,
and what comes often would pile up until then."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Awaitable, Callable

import pytest

from tests.attack.wire import ask
from tests.builders import config_map
from tiphys.api import core_v1
from tiphys.apiserver.access.serviceaccounttokens import InvalidToken
from tiphys.client.client import Client
from tiphys.machinery.errors import StatusError
from tiphys.testing import LocalCluster

SECRETS = "/api/v1/namespaces/default/secrets"


def refusals() -> int:
    """How many there are in memory, of whatever age."""
    return sum(isinstance(one, StatusError | InvalidToken) for one in gc.get_objects())


async def an_unknown_name(client: Client) -> None:
    with contextlib.suppress(StatusError):
        await client.get(core_v1.ConfigMap, "none", "default")


async def a_name_that_is_taken(client: Client) -> None:
    with contextlib.suppress(StatusError):
        await client.create(config_map("a"))


async def an_unknown_token(client: Client) -> None:
    header = {"Authorization": "Bearer nonsense"}
    stranger = Client(type(client.config)(client.config.server, client.config.ca))
    assert (await ask(stranger, "GET", SECRETS, header)).status == 401


@pytest.mark.parametrize("request_", [an_unknown_name, a_name_that_is_taken, an_unknown_token])
async def test_a_refusal_is_freed_at_once(
    server: LocalCluster, uncollected: None, request_: Callable[[Client], Awaitable[None]]
) -> None:
    await server.client.create(config_map("a"))
    await request_(server.client)
    before = refusals()
    for _ in range(20):
        await request_(server.client)
    assert refusals() - before < 5  # the last one may still be on its way

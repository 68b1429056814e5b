"""A component's page of metrics is for whom the API server allows it, its health for everybody."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import pytest

from tiphys.api import authentication_v1, core_v1
from tiphys.api.base import decode
from tiphys.api.catalog import resource_of
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.client.config import load
from tiphys.client.monitoring import Endpoint, MonitoringServer
from tiphys.cluster.certificates import Authority
from tiphys.testing import LocalCluster
from tiphys.testing.cluster import free_port


class Answer(NamedTuple):
    status: int
    text: str


Ask = Callable[..., Awaitable[Answer]]


def endpoint(server: LocalCluster) -> Endpoint:
    pair = server.authority.ensure("monitoring", "monitoring", (), ("127.0.0.1",), server=True)
    return Endpoint("127.0.0.1", free_port(), *pair, server.authority.path)


@pytest.fixture
async def ask(server: LocalCluster) -> AsyncIterator[Ask]:
    """Asks the monitoring server of a scheduler: a path, as a user, with headers."""
    place = endpoint(server)
    client = server.client_as("system:kube-scheduler")
    task = server.tasks.start(MonitoringServer(client).run(place), "monitoring")

    async def asking(
        path: str, user: str = "", *groups: str, pair: Any = None, **headers: str
    ) -> Answer:
        context = ssl.create_default_context(cafile=str(server.authority.path))
        if user:
            context = load(server.kubeconfig(user, groups)).ssl_context()
        if pair:
            context.load_cert_chain(*pair)
        url = f"https://127.0.0.1:{place.port}{path}"
        async with (
            aiohttp.ClientSession() as session,
            session.get(url, ssl=context, headers=headers) as answer,
        ):
            return Answer(answer.status, await answer.text())

    async def listens() -> bool:
        try:
            return (await asking("/healthz")).text == "ok"
        except aiohttp.ClientConnectionError:
            return False

    await server.eventually(listens)
    yield asking
    task.cancel()


async def test_health_is_for_everybody_and_metrics_are_not(ask: Ask) -> None:
    assert await ask("/readyz") == (200, "ok")
    refused = await ask("/metrics")
    assert refused.status == 403
    assert 'User \\"system:anonymous\\" cannot get path \\"/metrics\\"' in refused.text


async def test_a_certificate_is_its_user(ask: Ask) -> None:
    assert (await ask("/metrics", "jane")).status == 403
    shown = await ask("/metrics", "prometheus", "system:monitoring")
    assert shown.status == 200 and "rest_client_requests_total" in shown.text
    assert (await ask("/nothing", "admin", "system:masters")).status == 404


async def test_a_token_is_whose_the_api_server_says(server: LocalCluster, ask: Ask) -> None:
    account = core_v1.ServiceAccount(metadata=ObjectMeta(name="a", namespace="default"))
    await server.client.create(account)
    answer = await server.client.post(
        resource_of(core_v1.ServiceAccount),
        "default",
        "a",
        "token",
        authentication_v1.TokenRequest(),
    )
    token = decode(answer, authentication_v1.TokenRequest).status.token
    refused = await ask("/metrics", Authorization=f"Bearer {token}")
    assert refused.status == 403 and "system:serviceaccount:default:a" in refused.text
    assert (await ask("/metrics", Authorization="Bearer nonsense")).status == 401


async def test_a_certificate_of_another_authority_is_not_nobodys(
    server: LocalCluster, ask: Ask, tmp_path: Path
) -> None:
    stranger = Authority(tmp_path).ensure("x", "x", ("system:masters",))
    assert (await ask("/readyz", pair=stranger)).status == 200
    assert (await ask("/metrics", pair=stranger)).status == 401


async def test_openmetrics_is_for_who_accepts_it(ask: Ask) -> None:
    shown = await ask("/metrics", "admin", "system:masters", Accept="application/openmetrics-text")
    assert shown.text.endswith("# EOF\n")


async def test_a_port_that_is_taken_is_tried_again(
    server: LocalCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tiphys.client.monitoring._RETRY", 0.01)
    place = endpoint(server)
    first = server.tasks.start(MonitoringServer(server.client).run(place), "first")

    async def health() -> bool:
        context = ssl.create_default_context(cafile=str(server.authority.path))
        try:
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"https://127.0.0.1:{place.port}/healthz", ssl=context) as answer,
            ):
                return answer.status == 200
        except aiohttp.ClientConnectionError:
            return False

    await server.eventually(health)
    server.tasks.start(MonitoringServer(server.client).run(place), "second")
    first.cancel()
    await server.eventually(health)

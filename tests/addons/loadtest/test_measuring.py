"""What the applications' own pages say, and whether they have taken test data away."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from aiohttp import test_utils, web

from tiphys.addons.loadtest.measuring import (
    NotMeasured,
    asker,
    check,
    clean,
    pages,
    read_all,
    total,
)
from tiphys.addons.loadtest.types import Place
from tiphys.api.base import from_builtins


@pytest.mark.parametrize(
    ("status", "says"),
    [(200, ""), (204, ""), (404, ""), (300, "answers 300"), (405, "answers 405"), (500, "500")],
)
async def test_test_data_is_gone_when_there_is_none(status: int, says: str) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=status)

    application = web.Application()
    application.router.add_delete("/", answer)
    async with test_utils.TestServer(application) as server, aiohttp.ClientSession() as session:
        problem = await clean(session, "DELETE", str(server.make_url("/")))
    assert says in problem and bool(says) == bool(problem)


async def test_who_does_not_answer_has_kept_it() -> None:
    async with aiohttp.ClientSession() as session:
        problem = await clean(session, "DELETE", "http://127.0.0.1:1/")
    assert problem.startswith("DELETE http://127.0.0.1:1/: ")


# --- counts on a page ---

PAGE = """# TYPE orders_total counter
orders_total{shop="a"} 3
orders_total{shop="b"} 4.5
orders_total_created 9
more_orders_total 9
plain 7
odd x
"""


@pytest.mark.parametrize(
    ("metric", "count"),
    [
        ("orders_total", 7.5),
        ("plain", 7.0),
        ("orders", "the page has no orders"),
        ("orders.total", "the page has no orders.total"),
        ("odd", "a value of odd is no number"),
    ],
)
def test_a_count_is_the_sum_of_its_series(metric: str, count: float | str) -> None:
    try:
        assert total(PAGE, metric) == count
    except NotMeasured as error:
        assert str(error) == count


@asynccontextmanager
async def pages_of(**texts: str) -> AsyncIterator[tuple[aiohttp.ClientSession, str]]:
    """Pages by their first word; others lead elsewhere."""

    async def answer(request: web.Request) -> web.Response:
        name = request.path.strip("/")
        if name not in texts:
            return web.Response(status=302, headers={"Location": "/good"})
        return web.Response(text=texts[name])

    application = web.Application()
    application.router.add_get("/{name}", answer)
    async with test_utils.TestServer(application) as server, aiohttp.ClientSession() as session:
        yield session, str(server.make_url("/"))


async def test_every_page_gives_a_number_or_none_does() -> None:
    async with pages_of(good="orders 3\n", other="orders 4\n", bad="nothing\n") as (session, url):
        both = [f"{url}good", f"{url}other"]
        assert await read_all(session, both, "orders") == {both[0]: 3, both[1]: 4}
        with pytest.raises(NotMeasured, match="the page has no orders"):
            await read_all(session, [*both, f"{url}bad"], "orders")
        with pytest.raises(NotMeasured, match=f"{url}elsewhere answers 302"):
            await read_all(session, [f"{url}elsewhere"], "orders")
        with pytest.raises(NotMeasured, match=r"http://127\.0\.0\.1:1/: "):
            await read_all(session, ["http://127.0.0.1:1/"], "orders")


# --- whom users may have asked ---

INNER = "is this machine: tests may ask it with the setting local=true"


@pytest.mark.parametrize(
    ("url", "inner"),
    [
        ("http://127.0.0.1/m", True),
        ("http://[::1]:80/m", True),
        ("http://169.254.1.1/m", True),
        ("http://0.0.0.0/m", True),
        ("http://[fe80::1]/m", True),
        ("http://10.0.0.1/m", False),
        ("http://shop.lab/m", False),
        ("http://localhost/m", False),
        ("nothing", False),
    ],
)
def test_addresses_of_this_machine_are_asked_if_that_is_wanted(url: str, inner: bool) -> None:
    """Names are looked at when they are resolved."""
    check(url, local=True)
    if not inner:
        check(url, local=False)
        return
    with pytest.raises(NotMeasured, match=INNER):
        check(url, local=False)


async def test_a_name_of_this_machine_is_not_asked_either() -> None:
    async with pages_of(good="orders 3\n") as (_, url):
        url = url.replace("127.0.0.1", "localhost")
        async with asker(local=True) as session:
            assert await read_all(session, [f"{url}good"], "orders") == {f"{url}good": 3}
        async with asker(local=False) as session:
            with pytest.raises(NotMeasured, match=f"localhost {INNER}"):
                await read_all(session, [f"{url}good"], "orders")


class Slices:
    def __init__(self, *slices: Any) -> None:
        self.slices = slices

    async def list(self, kind: Any, namespace: str, *, labels: str) -> Any:
        assert (namespace, labels) == ("lab", "kubernetes.io/service-name=shop")
        return SimpleNamespace(items=[from_builtins(one, kind) for one in self.slices])


def behind(ports: Any, *endpoints: tuple[list[str], bool | None]) -> dict[str, Any]:
    rows = [
        {"addresses": addresses, "conditions": {} if ready is None else {"ready": ready}}
        for addresses, ready in endpoints
    ]
    return {
        "addressType": "IPv4",
        "ports": [{"name": name, "port": port} for name, port in ports],
        "endpoints": rows,
    }


BOTH = [("http", 80), ("metrics", 9090)]
TWO = (["10.0.0.2", "10.0.0.9"], True), (["10.0.0.1"], None)


@pytest.mark.parametrize(
    ("port_name", "slices", "urls"),
    [
        (
            "metrics",
            [behind(BOTH, *TWO)],
            ["http://10.0.0.1:9090/m", "http://10.0.0.2:9090/m"],
        ),
        ("", [behind([("", 80)], *TWO)], ["http://10.0.0.1:80/m", "http://10.0.0.2:80/m"]),
        (
            "http",
            [behind(BOTH, TWO[0]), behind(BOTH, TWO[0])],
            ["http://10.0.0.2:80/m"],
        ),
        ("http", [behind(BOTH, (["10.0.0.1"], False))], []),
        ("other", [behind(BOTH, *TWO)], []),
        ("", [behind([("", None)], *TWO)], []),
        ("http", [behind(BOTH, (["fd00::1"], True))], ["http://[fd00::1]:80/m"]),
    ],
)
async def test_a_services_pages_are_those_of_its_ready_pods(
    port_name: str, slices: Any, urls: list[str]
) -> None:
    place = from_builtins({"service": "shop", "portName": port_name, "path": "/m"}, Place)
    client: Any = Slices(*slices)
    if urls:
        assert await pages(client, place, "lab", False) == urls
        return
    with pytest.raises(NotMeasured, match="nothing is ready behind the Service shop"):
        await pages(client, place, "lab", False)


async def test_a_place_may_be_a_url() -> None:
    nobody: Any = None
    place = from_builtins({"url": "http://127.0.0.1/m"}, Place)
    assert await pages(nobody, place, "lab", True) == ["http://127.0.0.1/m"]
    with pytest.raises(NotMeasured, match=INNER):
        await pages(nobody, place, "lab", False)

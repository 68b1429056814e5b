"""The server, over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest
from multidict import CIMultiDictProxy

from tiphys.addons.routeserver.eskip import read_routes
from tiphys.addons.routeserver.serving import RouteServer, is_known
from tiphys.addons.routeserver.table import Tables, table_of

ZONED = "".join(f', "http://10.0.0.{n}:80?zone=near"' for n in range(3))
TABLE = f'a: * -> <random, "http://10.0.1.1:80?zone=far"{ZONED}>;'


class Served:
    """`ask` gives a whole answer: status, headers, and the body as it was sent."""

    def __init__(self) -> None:
        self.tables = Tables()
        self.server = RouteServer(self.tables)
        self.url = ""

    def load(self, text: str) -> None:
        self.tables.load(table_of(tuple(read_routes(text))))

    async def ask(
        self, path: str, method: str = "GET", **headers: str
    ) -> tuple[int, CIMultiDictProxy[str], bytes]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        named.setdefault("Accept-Encoding", "identity")
        async with (
            aiohttp.ClientSession(auto_decompress=False) as session,
            session.request(method, self.url + path, headers=named) as answer,
        ):
            return answer.status, answer.headers, await answer.read()


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    made = Served()
    made.url = f"http://127.0.0.1:{await made.server.start('127.0.0.1', 0)}"
    yield made
    await made.server.stop()


async def test_before_the_first_load_there_is_nothing(served: Served) -> None:
    assert (await served.ask("/routes"))[0] == 404
    assert (await served.ask("/health"))[0] == 503
    served.load("a: * -> <shunt>")
    assert (await served.ask("/health"))[0] == 204
    status, headers, body = await served.ask("/routes")
    assert (status, headers["X-Count"], body) == (200, "1", b"a: * -> <shunt>;")


async def test_who_has_the_table_is_told_so(served: Served) -> None:
    served.load("a: * -> <shunt>")
    _, headers, _ = await served.ask("/routes")
    status, again, body = await served.ask("/routes", If_None_Match=headers["ETag"])
    assert (status, again["ETag"], body) == (304, headers["ETag"], b"")
    served.load("b: * -> <shunt>")
    assert (await served.ask("/routes", If_None_Match=headers["ETag"]))[0] == 200


async def test_a_packed_table_has_an_etag_of_its_own(served: Served) -> None:
    served.load("a: * -> <shunt>")
    _, plain, _ = await served.ask("/routes")
    _, packed, body = await served.ask("/routes", Accept_Encoding="gzip")
    assert packed["ETag"] == plain["ETag"][:-1] + '+gzip"'
    assert packed["Content-Encoding"] == "gzip" and body[:2] == b"\x1f\x8b"
    known = {"If_None_Match": packed["ETag"]}
    assert (await served.ask("/routes", Accept_Encoding="gzip", **known))[0] == 304
    assert (await served.ask("/routes", **known))[0] == 200


async def test_a_zone_has_a_table(served: Served) -> None:
    served.load(TABLE)
    _, _, near = await served.ask("/routes/near")
    _, _, far = await served.ask("/routes/far")
    _, _, whole = await served.ask("/routes")
    assert near.count(b"http://") == 3
    assert far == whole and whole.count(b"http://") == 4


async def test_heads_and_others(served: Served) -> None:
    served.load("a: * -> <shunt>")
    status, headers, body = await served.ask("/routes", "HEAD")
    assert (status, body, headers["Content-Length"]) == (200, b"", "16")
    assert (await served.ask("/routes", "POST"))[0] == 405
    assert (await served.ask("/other"))[0] == 404
    assert (await served.ask("/routes/a/b"))[0] == 404


async def test_metrics_count(served: Served) -> None:
    served.load("")
    served.load("a: * -> <shunt>")
    await served.ask("/routes")
    text = (await served.ask("/metrics"))[2].decode()
    assert 'routesrv_custom_total{key="routes.empty"} 1\n' in text
    assert 'routesrv_custom_total{key="200"} 1\n' in text
    assert 'routesrv_custom_gauges{key="routes.total"} 1\n' in text


async def test_metrics_have_the_names_of_skippers_server(served: Served) -> None:
    async def lines() -> dict[str, int]:
        text = (await served.ask("/metrics"))[2].decode()
        rows = [line.rsplit(" ", 1) for line in text.splitlines() if line[0] != "#"]
        return {name.partition('"')[2].partition('"')[0]: int(value) for name, value in rows}

    assert await lines() == {
        "routes.empty": 0,
        "routes.updated": 0,
        "routes.fetch_errors": 0,
        "routes.polls": 0,
        "routes.total": 0,
        "routes.byte": 0,
    }
    served.load("a: * -> <shunt>; b: * -> <shunt>")
    served.load("a: * -> <shunt>; b: * -> <shunt>")
    await served.ask("/other")
    shown = await lines()
    assert (shown["routes.updated"], shown["routes.total"], shown["routes.byte"]) == (1, 2, 33)
    assert (shown["200"], shown["404"]) == (1, 1), "the answer before, and what there is not"


async def test_bytes_are_counted_that_are_sent(served: Served) -> None:
    served.load("a: * -> <shunt>")
    await served.ask("/routes", "HEAD")
    assert served.server.sent == 0
    await served.ask("/routes")
    assert served.server.sent == 16


async def test_who_may_be_told_something_else_is_told_by_what(served: Served) -> None:
    served.load("a: * -> <shunt>")
    _, headers, _ = await served.ask("/routes")
    assert headers["Vary"] == "Accept-Encoding"
    assert headers["Content-Type"] == "text/plain; charset=utf-8"
    status, refused, _ = await served.ask("/routes", "DELETE")
    assert (status, refused["Allow"]) == (405, "GET, HEAD")
    assert (await served.ask("/routes/"))[0] == 404


async def test_a_zones_name_is_read_as_it_is_meant(served: Served) -> None:
    served.load(TABLE.replace("near", "a%20b"))
    assert (await served.ask("/routes/a%20b"))[2].count(b"http://") == 3


async def test_an_address_that_is_taken_is_told(served: Served) -> None:
    port = int(served.url.rpartition(":")[2])
    other = RouteServer(Tables())
    with pytest.raises(OSError):
        await other.start("127.0.0.1", port)
    await other.stop()


def test_etags_are_compared_as_the_rfc_says() -> None:
    assert is_known('"a"', '"a"') and is_known('W/"a"', '"a"') and is_known('"b", "a"', '"a"')
    assert is_known("*", '"a"')
    assert not is_known("", '"a"') and not is_known('"b"', '"a"')

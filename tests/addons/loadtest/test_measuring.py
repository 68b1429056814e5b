"""What the applications' own pages say, and whether they have taken test data away."""

from __future__ import annotations

import aiohttp
import pytest
from aiohttp import test_utils, web

from tiphys.addons.loadtest.measuring import clean


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

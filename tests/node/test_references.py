"""Objects that pods refer to: one fetch serves many pods."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from tests.builders import config_map, pod
from tests.node.builders import client_of
from tiphys.api import authentication_v1, core_v1
from tiphys.api.base import encode
from tiphys.machinery.errors import forbidden, not_found
from tiphys.node import references
from tiphys.node.references import References


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The time, of both kinds, that the module sees: seconds in `at`."""
    time = SimpleNamespace(at=1000.0)
    time.monotonic = time.time = lambda: time.at
    monkeypatch.setattr(references, "time", time)
    return time


class Server:
    """Counts what it is asked for."""

    def __init__(self) -> None:
        self.gets = self.posts = 0
        self.error: Exception | None = None

    async def get(self, kind: Any, name: str, namespace: str) -> core_v1.ConfigMap:
        self.gets += 1
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        return config_map(name)

    async def post(self, *_: Any) -> bytes:
        self.posts += 1
        answer = authentication_v1.TokenRequest()
        answer.status.token = f"token {self.posts}"
        return encode(answer)


def of(server: Server) -> References:
    return References(client_of(get=server.get, post=server.post))


@pytest.mark.parametrize(("seconds", "gets"), [(0.0, 1), (5.0, 1), (5.1, 2)])
async def test_an_object_is_fetched_again_when_it_is_old(
    clock: SimpleNamespace, seconds: float, gets: int
) -> None:
    server = Server()
    kept = of(server)
    await asyncio.gather(*(kept.get(core_v1.ConfigMap, "default", "c") for _ in range(3)))
    clock.at += seconds
    await kept.get(core_v1.ConfigMap, "default", "c")
    assert server.gets == gets


async def test_what_does_not_exist_is_looked_for_each_time() -> None:
    server = Server()
    server.error = not_found("configmaps", "c")
    kept = of(server)
    for _ in range(2):
        assert await kept.get(core_v1.ConfigMap, "default", "c") is None
    assert server.gets == 2


async def test_a_failure_is_not_kept() -> None:
    server = Server()
    server.error = forbidden("configmaps", "c", "no")
    kept = of(server)
    with pytest.raises(Exception, match="no"):
        await kept.get(core_v1.ConfigMap, "default", "c")
    server.error = None
    assert await kept.get(core_v1.ConfigMap, "default", "c") is not None


@pytest.mark.parametrize(("seconds", "token"), [(0, "token 1"), (79, "token 1"), (81, "token 2")])
async def test_a_token_is_replaced_when_most_of_its_time_is_over(
    clock: SimpleNamespace, seconds: int, token: str
) -> None:
    kept, one = of(Server()), pod(serviceAccountName="s")
    await kept.token(one, "", 100)
    clock.at += seconds
    assert await kept.token(one, "", 100) == token


async def test_tokens_are_for_one_pod_and_audience() -> None:
    kept, one = of(Server()), pod(serviceAccountName="s")
    one.metadata.uid = "u"
    assert await kept.token(one, "", 100) == "token 1"
    assert await kept.token(one, "other", 100) == "token 2"
    kept.forget("v")
    assert await kept.token(one, "", 100) == "token 1"
    kept.forget("u")
    assert await kept.token(one, "", 100) == "token 3"

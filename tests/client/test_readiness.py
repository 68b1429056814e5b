"""A client leaves a server that says that it is not ready, and comes back to it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.client.pretenders import Pretender, config, said
from tiphys.client import readiness
from tiphys.client.readiness import Readiness
from tiphys.client.servers import Servers
from tiphys.client.tasks import TaskGroup
from tiphys.client.transport import Transport, Unreachable

A, B, C = "https://a:1", "https://b:1", "https://c:1"


class Watched:
    """Looks at servers that are as `says`, and notes what is done with the connections."""

    def __init__(self, folder: Path) -> None:
        (folder / "servers").write_text("b:1\nc:1\n")
        self.servers = Servers(A, folder / "servers")
        self.says: dict[str, bool | None] = {A: True, B: True, C: True}
        self.done: list[str] = []
        self.looks = Readiness(
            self.servers, self._ask, self._leave, lambda: self.done.append("returned")
        )

    async def _ask(self, server: str) -> bool | None:
        return self.says[server]

    async def _leave(self) -> None:
        self.done.append("left")

    async def after(self, looks: int) -> str:
        for _ in range(looks):
            await self.looks.look()
        return self.servers.current


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    return Watched(tmp_path)


async def test_a_server_that_is_not_ready_is_left_for_one_that_is(watched: Watched) -> None:
    assert await watched.after(9) == A
    watched.says |= {A: False, B: None}
    assert await watched.after(1) == C
    assert watched.done == ["left"]


async def test_where_none_is_ready_there_is_nothing_to_go_to(watched: Watched) -> None:
    watched.says |= {A: False, B: False, C: None}
    assert await watched.after(5) == A and watched.done == []


async def test_a_late_answer_is_no_reason_yet(watched: Watched) -> None:
    watched.says[A] = None
    assert await watched.after(1) == A
    watched.says[A] = True
    assert await watched.after(1) == A
    watched.says[A] = None
    assert await watched.after(2) == B


async def test_the_preferred_server_is_used_again_once_it_is_settled(watched: Watched) -> None:
    watched.says[A] = False
    assert await watched.after(1) == B
    watched.says[A] = True
    assert await watched.after(4) == B
    watched.says[A] = False
    await watched.after(1)
    watched.says[A] = True
    assert await watched.after(4) == B
    assert await watched.after(1) == A
    assert watched.done == ["left", "returned"]


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(readiness, "EVERY", 0.02)
    return


async def test_what_waits_for_such_a_server_ends_and_the_next_request_goes_elsewhere(
    three: list[Pretender], tmp_path: Path, plain_urls: None, hasty: None
) -> None:
    async with Transport(config(three, tmp_path)) as client:
        assert await said(client) == "a"
        three[0].is_ready = False
        three[0].is_silent = True
        tasks = TaskGroup("test")
        waiting = tasks.start(said(client, "POST"), "post")
        with pytest.raises(Unreachable):
            await waiting
        assert await said(client) == "b"
        three[0].is_ready = True
        three[0].is_silent = False
        while await said(client) != "a":
            pass

"""How many large bodies are worked on at a time, and whose turn it is."""

from __future__ import annotations

import asyncio

import pytest

from tests.apiserver.builders import call, refused
from tiphys.apiserver.eventloop.places import Bodies, Places
from tiphys.testing import LocalCluster


class Room:
    """Requests that stay until they are told to go. `inside` has who is in, in the order of entry."""

    def __init__(self, most: int, most_of_account: int) -> None:
        self.places = Places(most, most_of_account)
        self.inside: list[str] = []
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._ends: dict[str, asyncio.Event] = {}

    async def comes(self, *names: str) -> None:
        """``anna-1`` is a request of anna's."""
        for name in names:
            self._ends[name] = asyncio.Event()
            self._tasks[name] = asyncio.ensure_future(self._stay(name))
            await settle()

    async def goes(self, name: str) -> None:
        self._ends[name].set()
        await self._tasks[name]
        await settle()

    async def gives_up(self, name: str) -> None:
        self._tasks[name].cancel()
        with pytest.raises(asyncio.CancelledError):
            await self._tasks[name]
        await settle()

    async def _stay(self, name: str) -> None:
        async with self.places.place(name.partition("-")[0]):
            self.inside.append(name)
            try:
                await self._ends[name].wait()
            finally:
                self.inside.remove(name)


async def settle() -> None:
    for _ in range(4):
        await asyncio.sleep(0)


async def test_an_account_has_some_places_and_leaves_the_rest() -> None:
    room = Room(3, 2)
    await room.comes("anna-1", "anna-2", "anna-3", "bob-1")
    assert room.inside == ["anna-1", "anna-2", "bob-1"]


async def test_who_goes_makes_room_for_the_account_that_waits_longest() -> None:
    room = Room(1, 1)
    await room.comes("anna-1", "anna-2", "anna-3", "bob-1")
    order = []
    for _ in range(4):
        order += room.inside
        await room.goes(room.inside[0])
    assert order == ["anna-1", "anna-2", "bob-1", "anna-3"]


async def test_who_gives_up_waiting_takes_no_place() -> None:
    room = Room(1, 1)
    await room.comes("anna-1", "bob-1", "carl-1")
    await room.gives_up("bob-1")
    await room.goes("anna-1")
    assert room.inside == ["carl-1"]


async def test_who_gives_up_inside_leaves_his_place() -> None:
    room = Room(1, 1)
    await room.comes("anna-1", "bob-1")
    await room.gives_up("anna-1")
    assert room.inside == ["bob-1"]


async def test_a_place_that_is_given_to_who_gives_up_goes_to_the_next() -> None:
    room = Room(1, 1)
    await room.comes("anna-1", "bob-1", "carl-1")
    room._ends["anna-1"].set()
    await room._tasks["anna-1"]  # bob has been let in, and has not looked yet
    await room.gives_up("bob-1")
    assert room.inside == ["carl-1"]


async def test_nothing_is_remembered_of_those_that_went() -> None:
    room = Room(2, 1)
    await room.comes("anna-1", "anna-2")
    await room.goes("anna-1")
    await room.goes("anna-2")
    assert not room.places._waiting
    assert not room.places._taken


async def test_what_waits_for_a_place_counts_as_under_way(
    server: LocalCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two hundred megabytes of an account would wait, and more with each connection."""
    handler = server.server.server
    bodies = Bodies(4 << 20)
    monkeypatch.setattr(handler, "_bodies", bodies)
    places = Places(1, 1)
    monkeypatch.setattr(handler, "_places", (places, places))
    maps = "/api/v1/namespaces/default/configmaps"

    def large(name: str) -> dict[str, object]:
        data = {"a": "x" * 1_000_000}
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}

    async with places.place("somebody"):
        made = [asyncio.ensure_future(call(server, "POST", maps, large(f"m{n}"))) for n in range(4)]
        await server.eventually(lambda: sum(bodies.under_way.values()) > 4_000_000)
        refusal = await refused(call(server, "POST", maps, large("m5")))
    assert refusal.code == 429
    await asyncio.gather(*made)
    assert not bodies.under_way

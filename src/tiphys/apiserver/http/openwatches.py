"""The open watches of one server: how many, whose, and how they end."""

from __future__ import annotations

import asyncio
from typing import Protocol

from tiphys.api.catalog import Resource
from tiphys.apiserver.eventloop.turns import Rounds
from tiphys.apiserver.http.metrics import RequestMetrics
from tiphys.client.tasks import TaskGroup


class OpenWatch(Protocol):
    """A watch as others see it."""

    user: str
    resource: Resource
    ended: bool
    """Set for a watch that has to end; it checks when `wake` is set."""
    wake: asyncio.Event


class OpenWatches:
    """`rounds` are those in which watchers are sent what happened, `tasks` what they wait for."""

    def __init__(self, tasks: TaskGroup, metrics: RequestMetrics) -> None:
        self.tasks = tasks
        self.metrics = metrics
        self.rounds = Rounds()
        self.closing = asyncio.Event()
        self.requests = 0
        """Requests for watches that are being answered, including those that have yet to start."""
        self._open: set[OpenWatch] = set()

    def add(self, watch: OpenWatch) -> None:
        self._open.add(watch)

    def discard(self, watch: OpenWatch) -> None:
        self._open.discard(watch)

    def is_watching(self, users: tuple[str, ...]) -> bool:
        """Whether one of the users has a watch open."""
        return any(watch.user in users for watch in self._open)

    def end_all(self) -> None:
        """Lets every watch end cleanly: the server goes."""
        self.closing.set()
        for watch in self._open:
            watch.wake.set()

    def end_of(self, prefix: str) -> None:
        """Lets the watches of one resource end: it is not served any more, or in another way."""
        for watch in list(self._open):
            if watch.resource.prefix == prefix:
                self.end(watch)

    @staticmethod
    def end(watch: OpenWatch) -> None:
        watch.ended = True
        watch.wake.set()

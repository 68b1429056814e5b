"""Places for large bodies: so many are worked on at a time, accounts in turn.

A body of three megabytes takes a hundred as an object, and is worked on by the one thread for large
objects, in ten steps between which others have theirs. Two hundred of them at once, which the seats
of a priority level would let in, had all memory, and whoever else wrote something large waited for
all of them. Whoever waits here has its bytes alone.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

MOST = 8
MOST_OF_ACCOUNT = 2


class Places:
    """`most` in all, `most_of_account` for one account."""

    def __init__(self, most: int = MOST, most_of_account: int = MOST_OF_ACCOUNT) -> None:
        self._free = most
        self._most_of_account = most_of_account
        self._taken = Counter[str]()  # by account
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}  # by account; the first is next

    @asynccontextmanager
    async def place(self, account: str) -> AsyncIterator[None]:
        """Waits for a place, and has it."""
        if self._is_open_to(account):
            self._take(account)
        else:
            await self._turn(account)
        try:
            yield
        finally:
            self._give_back(account)

    def _is_open_to(self, account: str) -> bool:
        return self._free > 0 and self._taken[account] < self._most_of_account

    def _take(self, account: str) -> None:
        self._free -= 1
        self._taken[account] += 1

    async def _turn(self, account: str) -> None:
        """Returns when the place has been taken."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting = self._waiting.setdefault(account, deque())
        waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._give_back(account)
            raise

    def _give_back(self, account: str) -> None:
        self._free += 1
        self._taken[account] -= 1
        if not self._taken[account]:
            del self._taken[account]
        for next_one in list(self._waiting):
            if self._free == 0:
                return
            if self._is_open_to(next_one):
                self._let_in(next_one)

    def _let_in(self, account: str) -> None:
        waiting = self._waiting.pop(account)
        while waiting:
            turn = waiting.popleft()
            if not turn.done():  # else its request has been given up
                self._take(account)
                turn.set_result(None)
                break
        if waiting:
            self._waiting[account] = waiting  # behind the others

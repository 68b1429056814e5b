"""How many bytes of bodies an account has here at a time (`Bodies`), and places for large ones
(`Places`): so many are worked on at a time, accounts in turn.

A body of three megabytes takes a hundred as an object, and is worked on by the one thread for large
objects, in ten steps between which others have theirs. Two hundred of them at once, which the seats
of a priority level would let in, had all memory, and other clients' large writes waited for
all of them. A request that waits here holds its own bytes alone.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tiphys.machinery import errors

MOST_UNDER_WAY = 128 << 20  # bytes of bodies of one account
MOST = 8
MOST_OF_ACCOUNT = 2


class Bodies:
    """The bytes of its bodies that each account has under way, however many connections it has:
    those that it sends, and large ones to their end."""

    def __init__(self, most: int = MOST_UNDER_WAY) -> None:
        self._most = most
        self.under_way: dict[str, int] = {}  # by account

    def take(self, account: str, size: int) -> None:
        """Raises 429 when it has too many."""
        others = self.under_way.get(account, 0)
        if others + size > self._most:
            raise errors.too_many_requests("Too many requests, please try again later.", 1)
        self.under_way[account] = others + size

    def give_back(self, account: str, size: int) -> None:
        self.under_way[account] -= size
        if not self.under_way[account]:
            del self.under_way[account]


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

"""Work on large objects, on a thread of its own.

Decoding, defaulting, comparing and checking a megabyte takes a second. So does an expression about
a small one (`patience`): it starts at once, and is done on the thread if it goes on.

It is pure work: nothing that runs here may touch what belongs to the event loop. There is one such
thread, so that the loop has to share the interpreter with one other at most; whoever brings the
next large object waits.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, ParamSpec, TypeVar

from tiphys.machinery import patience

P = ParamSpec("P")
T = TypeVar("T")

LARGE = 24 << 10  # bytes of JSON: the work on so much takes 5 ms or so
SWITCH_INTERVAL = 0.001  # seconds after which the thread lets the loop go on, not Python's 5 ms
_FREED_AFTER = 1.0  # seconds: the frames that worked on an object have ended by then

_THREAD = ThreadPoolExecutor(1, "large-objects")
_body_is_large = contextvars.ContextVar("body_is_large", default=False)
_object_is_large = contextvars.ContextVar("object_is_large", default=False)


def weigh_body(size: int) -> None:
    """Sets the bytes of the body of the request that this task answers."""
    if size > LARGE:
        _body_is_large.set(True)


def weigh_object(size: int) -> None:
    """Sets the bytes of the stored object that this task works on now."""
    if size > LARGE or _object_is_large.get():
        _object_is_large.set(size > LARGE)


def _is_large() -> bool:
    return _body_is_large.get() or _object_is_large.get()


def free_aside(*objects: Any) -> None:
    """Has objects that are done with freed on the thread, if what this task works on is large.

    To free the structs of a megabyte takes 7 ms, and the holder of the last reference pays for
    it: without this, the loop, when the frames that worked on them end.
    """
    if _is_large():
        loop = asyncio.get_running_loop()
        loop.call_later(_FREED_AFTER, _THREAD.submit, _free_each, list(objects))


def _free_each(objects: list[Any]) -> None:
    """One by one: in between, the loop may have the interpreter."""
    while objects:
        objects.pop()


class Unanswered(BaseException):
    """Work cannot go on before another server has been asked, which takes time. Nothing that
    handles errors of the work itself may stop this one.

    `ask` gets the answer; then the work starts again, and finds it.
    """

    def __init__(self, ask: Callable[[], Awaitable[None]]) -> None:
        super().__init__()
        self.ask = ask


async def answered(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """The result of a function that may have questions to other servers. It is called again for
    each, so it must change nothing before the last."""
    while True:
        try:
            return function(*args, **kwargs)
        except Unanswered as question:
            await question.ask()


async def aside(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """The function's result: computed at once, or on the thread when what this task works on is
    large or takes long. What it asks of other servers is awaited, and it is called again."""
    allowance = patience.allowance
    while True:
        try:
            if not _is_large():
                # `with patience.Brief()` written out: a write passes here ten times
                before = allowance.left
                allowance.left = patience.BRIEF
                try:
                    return function(*args, **kwargs)
                except patience.Unfinished:
                    pass  # what has been done so far is done again
                finally:
                    allowance.left = before
            context = contextvars.copy_context()
            work = partial(context.run, function, *args, **kwargs)
            result = await asyncio.get_running_loop().run_in_executor(_THREAD, work)
            if context.get(_object_is_large):  # the work may have found it to be
                _object_is_large.set(True)
            return result
        except Unanswered as question:
            await question.ask()

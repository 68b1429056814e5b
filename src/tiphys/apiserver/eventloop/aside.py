"""Work on large objects, on a thread of its own: decoding, defaulting, comparing and checking a megabyte takes a second.
So does an expression about a small one (`patience`): it is begun at once, and done on the thread if it goes on.

It is pure work: nothing that runs here may touch what belongs to the event loop. There is one such thread, so that the loop has to
share the interpreter with one other at most; whoever brings the next large object waits.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

from tiphys.machinery import patience

P = ParamSpec("P")
T = TypeVar("T")

LARGE = 24 << 10  # bytes of JSON: the work on so much takes 5 ms or so
SWITCH_INTERVAL = (
    0.001  # seconds after which the thread lets the loop go on, instead of Python's 5 ms
)

_THREAD = ThreadPoolExecutor(1, "large-objects")
_body_is_large = contextvars.ContextVar("body_is_large", default=False)
_object_is_large = contextvars.ContextVar("object_is_large", default=False)


def weigh_body(size: int) -> None:
    """Says how many bytes the body of the request has that this task answers."""
    if size > LARGE:
        _body_is_large.set(True)


def weigh_object(size: int) -> None:
    """Says how many bytes the stored object has that this task works on now."""
    if size > LARGE or _object_is_large.get():
        _object_is_large.set(size > LARGE)


class Pure:
    """A change of an object that touches nothing else, and so may be made on the thread."""

    def __init__(self, change: Callable[[Any], Any]) -> None:
        self._change = change

    def __call__(self, old: Any) -> Any:
        return self._change(old)


async def aside(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """The function's result: computed at once, or on the thread when what this task works on is large or takes long."""
    if not (_body_is_large.get() or _object_is_large.get()):
        try:
            with patience.Brief():
                return function(*args, **kwargs)
        except patience.Unfinished:
            pass  # what has been done so far is done again
    context = contextvars.copy_context()
    call = lambda: context.run(function, *args, **kwargs)  # noqa: E731 - run_in_executor takes no keywords
    return await asyncio.get_running_loop().run_in_executor(_THREAD, call)

"""Regular expressions that users write, in schemas and CEL: RE2, as upstream's are, in time that
grows with the text alone."""

from __future__ import annotations

import functools
import threading
from typing import Any

from tiphys.machinery import patience
from tiphys.machinery.remembered import remembered


class RegexpError(ValueError):
    """The text is no regular expression; the message is that of Go's parser."""


_TOO_LARGE = "expression too large"
# What RE2 and Go's parser, which comes from it, call the same mistakes.
_NAMES = {
    "invalid perl operator": "invalid or unsupported Perl syntax",
    "missing )": "missing closing )",
    "missing ]": "missing closing ]",
    "no argument for repetition operator": "missing argument to repetition operator",
    "bad repetition operator": "invalid nested repetition operator",
    "invalid repetition size": "invalid repeat count",
    "pattern too large - compile failed": _TOO_LARGE,
}
# Bytes of a program for what is compiled where others wait (2 ms), and at most. RE2 keeps the
# interpreter to itself meanwhile: 40 ms for 4 MiB. Its own limit of 8 MiB takes 250 ms and 45 MiB
# for eight characters such as `\pL{400}`.
_QUICK = 256 << 10
_MOST = 4 << 20
_MOST_TOGETHER = 1_000_000  # instructions of what one object has compiled: 0.5 s
_BYTES = 48  # of an instruction, both ways, with what RE2 keeps beside it
_PER_UNIT = 4  # instructions that are compiled in the time of a unit of `patience`


class _Room(threading.local):
    left: int | None = None  # instructions; None: no limit


_room = _Room()


class Together:
    """``with Together():`` the expressions that are compiled inside have a limit in sum, beyond
    which they are none."""

    __slots__ = ("_before",)

    def __enter__(self) -> None:
        self._before = _room.left
        _room.left = _MOST_TOGETHER

    def __exit__(self, *_: object) -> None:
        _room.left = self._before


def compiled(pattern: str) -> Any:
    """A pattern with `search` and `finditer`. Raises RegexpError."""
    return _light(pattern) or _heavy(pattern)


@remembered(512)
def _light(pattern: str) -> Any:
    """None when it is a large one."""
    try:
        return _compile(pattern, _QUICK)
    except RegexpError as error:
        if _TOO_LARGE in str(error):
            return None
        raise


@functools.lru_cache(16)
def _heavy(pattern: str) -> Any:
    patience.take(patience.BRIEF + 1)
    return _compile(pattern, _MOST)


def _compile(pattern: str, memory: int) -> Any:
    import re2  # imported on first use: not every server needs it

    if _room.left is not None and _room.left < 0:
        raise RegexpError("error parsing regexp: expressions too large together")
    options = re2.Options()
    options.log_errors = False
    options.max_mem = memory
    size = memory // _BYTES
    try:
        expression = re2.compile(pattern, options)
        size = expression.programsize
        return expression
    except re2.error as error:
        text = error.args[0].decode() if isinstance(error.args[0], bytes) else str(error)
        problem, colon, where = text.partition(": ")
        raise RegexpError(
            f"error parsing regexp: {_NAMES.get(problem, problem)}"
            + (f": `{where}`" if colon else "")
        ) from None
    finally:
        if _room.left is not None:
            _room.left -= size
        patience.take(size // _PER_UNIT)

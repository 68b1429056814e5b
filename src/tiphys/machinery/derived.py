"""Values derived from something that changes, computed again when it has changed: the one cache by
revision."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class Derived(Generic[T]):
    """A value that is computed from sources which know their version (a revision, a generation).

    version: of the sources, now. Asked on every use, so it has to be cheap; versions are compared
             for equality only
    compute: the value, from the sources as they are. It may change them: the version that counts is
             the one before, so the value is computed again on the next use then. What it raises
             reaches the user, and nothing is kept

    `Derived(version, dict)` is a cache that is emptied by every change. A use costs 0.4 µs and what
    `version` costs.
    """

    __slots__ = ("_compute", "_computed_at", "_value", "_version")

    def __init__(self, version: Callable[[], Hashable], compute: Callable[[], T]) -> None:
        self._version = version
        self._compute = compute
        self._computed_at: Hashable = _NEVER
        self._value: T | None = None

    def get(self) -> T:
        version = self._version()
        if self._computed_at != version:
            self._value = self._compute()
            self._computed_at = version
        return self._value  # type: ignore[return-value]  # T may include None

    def forget(self) -> None:
        """The next use computes the value again, whatever the version."""
        self._computed_at = _NEVER
        self._value = None


_NEVER = object()

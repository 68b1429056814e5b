"""How long a pod that failed is not made again. Pure: its clock is given."""

from __future__ import annotations

_FIRST = 1.0  # seconds; doubled with each failure
_LONGEST = 30.0


class PodBackoff:
    """By the names of places. A pod that has trained is forgiven: then it is the job that fails,
    and its budget counts that."""

    def __init__(self) -> None:
        self._failures: dict[str, int] = {}
        self._not_before: dict[str, float] = {}

    def failed(self, key: str, has_trained: bool, now: float) -> None:
        if has_trained:
            self.forget(key)
            return
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        doublings = min(failures - 1, 8)
        self._not_before[key] = now + min(_FIRST * 2**doublings, _LONGEST)

    def seconds_left(self, key: str, now: float) -> float:
        return max(0.0, self._not_before.get(key, 0.0) - now)

    def forget(self, key: str) -> None:
        self._failures.pop(key, None)
        self._not_before.pop(key, None)

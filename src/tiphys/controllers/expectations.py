"""Expectations: writes of a controller whose events have not come back to its informer yet.

Without them a controller that has just created ten pods would see none of them at its next look,
and create ten more. As in upstream's controller_utils: before it writes, it says what it expects
for the key; the events that come take it off; until all have come, it looks but does not write.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

BURST = 500  # pods that are created or deleted in one step, as upstream's burstReplicas
PATIENCE = 300.0  # seconds until a missing event is given up on (upstream's ExpectationsTimeout)


class Expectations:
    """What is expected for each key. `clock` is any clock in seconds that never goes back."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._created: Counter[str] = Counter()
        self._deleted: dict[str, set[str]] = {}
        self._since: dict[str, float] = {}

    def expect(self, key: str, creations: int = 0, deletions: set[str] | None = None) -> None:
        """Notes writes that are about to be made: how many creations, and the uids of deletions."""
        self._created[key] += creations
        self._deleted.setdefault(key, set()).update(deletions or ())
        self._since[key] = self._clock()

    def created(self, key: str, count: int = 1) -> None:
        """A creation was seen, or failed."""
        self._created[key] = max(0, self._created[key] - count)

    def deleted(self, key: str, uid: str) -> None:
        """A deletion was seen, or failed."""
        self._deleted.get(key, set()).discard(uid)

    def observe(self, key: str, old: Any, new: Any) -> None:
        """A change as an informer reports it: `old` is None for a new object, `new` for one that is
        gone. One with a deletion timestamp counts as deleted: what is expected is the request."""
        if old is None:
            self.created(key)
        if new is None or new.metadata.deletion_timestamp:
            self.deleted(key, (new or old).metadata.uid)

    def met(self, key: str) -> bool:
        """Whether everything has come back, or has been waited for long enough."""
        if not self._created[key] and not self._deleted.get(key):
            return True
        return self._clock() - self._since[key] > PATIENCE

    def forget(self, key: str) -> None:
        """The owner is gone."""
        self._created.pop(key, None)
        self._deleted.pop(key, None)
        self._since.pop(key, None)

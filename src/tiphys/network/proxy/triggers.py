"""When what changed that the next round of rules is about: slices say it of themselves."""

from __future__ import annotations

import contextlib
import time
from datetime import datetime

from tiphys.api.discovery_v1 import EndpointSlice

TRIGGERED = "endpoints.kubernetes.io/last-change-trigger-time"


class Triggers:
    """Times in seconds since the epoch, by version of IP, until they are taken."""

    def __init__(self) -> None:
        self._started = time.time()
        self._times: dict[int, list[float]] = {4: [], 6: []}

    def note(self, changed: EndpointSlice) -> None:
        """What changed before this process was there would tell nothing of the network, as with
        kube-proxy."""
        text = changed.metadata.annotations.get(TRIGGERED, "")
        with contextlib.suppress(ValueError):
            moment = datetime.fromisoformat(text).timestamp()
            if moment >= self._started:
                self._times[6 if changed.address_type == "IPv6" else 4].append(moment)

    def take(self) -> dict[int, list[float]]:
        taken = self._times
        self._times = {4: [], 6: []}
        return taken

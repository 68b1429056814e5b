"""How drivers say that their devices are (`DRAResourceHealth`). Pure.

What a driver has said holds for as long as it says, 30 seconds otherwise; after that, and after the
driver has gone, nobody knows (upstream's `pkg/kubelet/cm/dra/healthinfo.go`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from tiphys.node.devices import dramessages as m

UNKNOWN = "Unknown"
_STATES = {1: "Healthy", 2: "Unhealthy"}
_HOLDS, _LONGEST = 30.0, 86_400.0  # seconds that what a driver says holds, if it says none; at most
_MOST_PLACES = 65_536  # devices of the node of which anything is remembered
_LONGEST_MESSAGE = 1024  # characters, as upstream


class Health(NamedTuple):
    """state: Healthy, Unhealthy or Unknown; message: the driver's, for people"""

    state: str = UNKNOWN
    message: str = ""


class _Said(NamedTuple):
    health: Health
    until: float


class DeviceHealths:
    """Of all drivers, by the places of devices: DRIVER/POOL/DEVICE. Times are seconds of any
    clock."""

    def __init__(self) -> None:
        self._said: dict[str, _Said] = {}

    def of(self, place: str, now: float) -> Health:
        said = self._said.get(place)
        return said.health if said is not None and now < said.until else Health()

    def take(self, driver: str, devices: Iterable[m.DeviceHealth], now: float) -> set[str]:
        """What a driver says. Returns the places of devices that are otherwise than before."""
        changed = set()
        for one in devices:
            if one.device is None:
                continue
            place = f"{driver}/{one.device.pool_name}/{one.device.device_name}"
            if place not in self._said and len(self._said) >= _MOST_PLACES:
                continue
            health = Health(_STATES.get(one.health, UNKNOWN), _cut(one.message))
            if self.of(place, now) != health:
                changed.add(place)
            holds = one.health_check_timeout_seconds
            self._said[place] = _Said(health, now + min(holds if holds > 0 else _HOLDS, _LONGEST))
        return changed

    def expire(self, now: float) -> set[str]:
        """Forgets what does not hold any more. Returns the places of those devices."""
        expired = {place for place, said in self._said.items() if now >= said.until}
        for place in expired:
            del self._said[place]
        return expired


def _cut(message: str) -> str:
    if len(message) <= _LONGEST_MESSAGE:
        return message
    return f"{message[: _LONGEST_MESSAGE - 3]}..."

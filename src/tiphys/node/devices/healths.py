"""How drivers say that their devices are (`DRAResourceHealth`). Pure.

What a driver reports holds for the timeout that it gives, or 30 seconds; after that, and after the
driver has gone, a device's health is unknown (upstream's `pkg/kubelet/cm/dra/healthinfo.go`).
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


class _Report(NamedTuple):
    health: Health
    until: float


class DeviceHealths:
    """Of all drivers, by the places of devices: DRIVER/POOL/DEVICE. Times are seconds of any
    clock."""

    def __init__(self) -> None:
        self._reports: dict[str, _Report] = {}

    def of(self, place: str, now: float) -> Health:
        reported = self._reports.get(place)
        return reported.health if reported is not None and now < reported.until else Health()

    def take(self, driver: str, devices: Iterable[m.DeviceHealth], now: float) -> set[str]:
        """A driver's report. Returns the places of devices whose health has changed."""
        changed = set()
        for report in devices:
            if report.device is None:
                continue
            place = f"{driver}/{report.device.pool_name}/{report.device.device_name}"
            if place not in self._reports and len(self._reports) >= _MOST_PLACES:
                continue
            health = Health(_STATES.get(report.health, UNKNOWN), _cut(report.message))
            if self.of(place, now) != health:
                changed.add(place)
            holds = report.health_check_timeout_seconds
            self._reports[place] = _Report(
                health, now + min(holds if holds > 0 else _HOLDS, _LONGEST)
            )
        return changed

    def expire(self, now: float) -> set[str]:
        """Forgets what does not hold any more. Returns the places of those devices."""
        expired = {place for place, reported in self._reports.items() if now >= reported.until}
        for place in expired:
            del self._reports[place]
        return expired


def _cut(message: str) -> str:
    if len(message) <= _LONGEST_MESSAGE:
        return message
    return f"{message[: _LONGEST_MESSAGE - 3]}..."

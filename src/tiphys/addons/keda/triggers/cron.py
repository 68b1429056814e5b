"""cron: a number of replicas between two moments of a schedule."""

from __future__ import annotations

from tiphys.addons.keda.parameters import ParameterError, parameter
from tiphys.addons.keda.scaler import Measured, Scaler, ScalerError, scaler
from tiphys.machinery.cron import ScheduleError, parse_schedule, zone_of

_IN_NAMES = (("*", "x"), ("/", "Sl"), ("?", "Qm"), (",", "Cm"))
_NEVER = float("inf")


@scaler("cron")
class Cron(Scaler):
    start: str = parameter()
    end: str = parameter()
    timezone: str = parameter()
    desired_replicas: int = parameter()

    def check(self) -> None:
        for word, text in (("start", self.start), ("end", self.end)):
            try:
                if text.startswith("@"):
                    raise ScheduleError(f"expected exactly 5 fields, found 1: [{text}]")
                parse_schedule(text)
            except ScheduleError as error:
                raise ParameterError(f"error parsing {word} schedule: {error}") from None
        if self.start == self.end:
            raise ParameterError("start and end can not have exactly same time input")
        if self.desired_replicas == 0:
            raise ParameterError("no desiredReplicas specified")

    def name(self) -> str:
        return f"cron-{self.timezone}-{_in_name(self.start)}-{_in_name(self.end)}"

    def target(self) -> float:
        return 1

    async def look(self, metric: str) -> Measured:
        inside = is_within(self.start, self.end, self.timezone, self.config.surroundings.now())
        return Measured(float(self.desired_replicas) if inside else 0.0, inside)


def is_within(start: str, end: str, zone: str, now: float) -> bool:
    """Whether the window is open: it is when its end comes before its next start. Raises
    ScalerError."""
    try:
        place = zone_of(zone)
    except ScheduleError as error:
        raise ScalerError(f"unable to load timezone: {error}") from None
    next_start = parse_schedule(start).after(now, place)
    next_end = parse_schedule(end).after(now, place)
    if next_end is None:
        return False
    return next_end <= (next_start if next_start is not None else _NEVER)


def _in_name(schedule: str) -> str:
    name = schedule.replace(" ", "")
    for sign, word in _IN_NAMES:
        name = name.replace(sign, word)
    return name

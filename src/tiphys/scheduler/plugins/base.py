"""What a plugin is: columns in, a column out."""

from __future__ import annotations

from typing import Any

from tiphys.scheduler.podinfo import PodInfo
from tiphys.scheduler.snapshot import Bools, Snapshot

Floats = Any  # npt.NDArray[np.float64]; numpy's own types are too narrow for mixed arithmetic
Verdicts = list[tuple[Bools, str]]


class Plugin:
    """`weight` 0: the plugin does not score. `static`: its filter looks at nodes alone, so pods that are alike share it."""

    name = ""
    static = False

    def __init__(self, weight: int = 0) -> None:
        self.weight = weight

    def filter(self, view: Snapshot, pod: PodInfo) -> Verdicts:
        """(rows that pass, why the others do not), for each reason there may be; empty: everything passes."""
        return []

    def score(self, view: Snapshot, pod: PodInfo, feasible: Bools) -> Floats | None:
        """0 to 100 for each row; None: all alike."""
        return None


class ScoreOnly(Plugin):
    """A plugin whose filter a profile has disabled."""

    def __init__(self, inner: Plugin) -> None:
        super().__init__(inner.weight)
        self.name, self.static, self.score = inner.name, inner.static, inner.score  # type: ignore[method-assign]


def stretched(raw: Floats, feasible: Bools, reverse: bool = False) -> Floats | None:
    """Scores scaled so that the best feasible row has 100."""
    highest = raw[feasible].max(initial=0.0)
    if highest <= 0:
        return None
    scaled = raw * (100.0 / highest)
    return 100.0 - scaled if reverse else scaled

"""Whether a test may start: decided before anything is changed."""

from __future__ import annotations

from collections.abc import Iterable

from tiphys.addons.loadtest.types import Application, LoadTest, Phase

OVER: tuple[Phase, ...] = ("Completed", "Failed", "Refused")


class Refusal(ValueError):
    """Why a test does not start. `reason` is a word for a condition."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def rival(test: LoadTest, others: Iterable[LoadTest]) -> str:
    """Another test at work on one of the same applications, in words (pure)."""
    mine = {_key(test, one) for one in test.spec.applications}
    for other in others:
        if other.metadata.uid == test.metadata.uid or other.status.phase in (None, *OVER):
            continue
        for application in other.spec.applications:
            if _key(other, application) in mine:
                return f"{other.metadata.name} is at work on {application.name}"
    return ""


def _key(test: LoadTest, application: Application) -> tuple[str, str]:
    """Local services are the same for tests of every namespace."""
    is_local = application.substrate == "Process"
    return ("" if is_local else test.metadata.namespace, application.name)

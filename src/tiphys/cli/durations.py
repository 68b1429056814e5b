"""Durations on the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    _Seconds = click.ParamType[float]
else:
    _Seconds = click.ParamType  # of older versions it is no generic type


class Duration(_Seconds):
    """Seconds of a duration in Go's syntax."""

    name = "duration"

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        from tiphys.machinery.durations import DurationError, seconds

        if isinstance(value, float):
            return value
        try:
            return seconds(str(value))
        except DurationError as error:
            self.fail(str(error), param, ctx)

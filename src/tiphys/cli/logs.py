"""How components log: a line of text for each record, or an object of JSON."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from typing import Any, TextIO, TypeVar

import click

C = TypeVar("C", bound=Callable[..., Any])
_TEXT = "%(asctime)s %(levelname).1s %(name)s: %(message)s"

# Upstream's name of the option is accepted as well. The variable reaches the components of
# `tiphys up`, which have their environment from it.
log_format: Callable[[C], C] = click.option(
    "--log-format",
    "--logging-format",
    "log_format",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    envvar="TIPHYS_LOG_FORMAT",
    help="Format of the log.",
)


class JSONFormatter(logging.Formatter):
    """A record as one line of JSON, with upstream's keys: `ts` (seconds since the epoch), `msg`,
    `v` unless it is an error, and `err` for an exception; beside them `level` and `logger`."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {"ts": round(record.created, 6)}
        if record.levelno < logging.ERROR:
            line["v"] = 0
        line["level"] = record.levelname.lower()
        line["logger"] = record.name
        line["msg"] = record.getMessage()
        if record.exc_info and record.exc_info[1] is not None:
            line["err"] = str(record.exc_info[1]) or type(record.exc_info[1]).__name__
            line["stacktrace"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def configure(log_format: str, stream: TextIO | None = None) -> None:
    """Sends the records of this process to `stream`, standard error by default. `log_format` is
    text or json."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JSONFormatter() if log_format == "json" else logging.Formatter(_TEXT))
    logging.basicConfig(level=logging.INFO, handlers=[handler])

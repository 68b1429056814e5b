"""The log of a component, as text and as JSON."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from typing import Any

import pytest

from tiphys.cli.logs import JSONFormatter
from tiphys.cli.main import cli


def formatted(level: int, message: str, *arguments: object, error: Any = None) -> dict[str, Any]:
    info = (type(error), error, None) if error is not None else None
    record = logging.LogRecord("tiphys.x", level, "x.py", 1, message, arguments, info)
    line = JSONFormatter().format(record)
    assert "\n" not in line
    return dict(json.loads(line))


def test_a_record_is_an_object() -> None:
    line = formatted(logging.WARNING, "pod %s is late by %d s", 'a"b', 3)
    assert isinstance(line.pop("ts"), float)
    assert line == {
        "v": 0,
        "level": "warning",
        "logger": "tiphys.x",
        "msg": 'pod a"b is late by 3 s',
    }


def test_an_error_has_its_exception_and_no_verbosity() -> None:
    line = formatted(logging.ERROR, "two\nlines", error=ValueError("no"))
    assert "v" not in line
    assert (line["msg"], line["err"]) == ("two\nlines", "no")
    assert "ValueError: no" in line["stacktrace"]


@pytest.mark.parametrize("name", ["apiserver", "controllers", "scheduler", "node", "addons"])
def test_every_component_has_the_option(name: str) -> None:
    option = next(one for one in cli.commands[name].params if one.name == "log_format")
    assert option.opts == ["--log-format", "--logging-format"]


@pytest.mark.parametrize(("log_format", "start"), [("json", '{"ts": '), ("text", "20")])
def test_what_a_process_writes(log_format: str, start: str) -> None:
    program = (
        "import logging; from tiphys.cli.logs import configure; "
        f"configure({log_format!r}); logging.getLogger('a').info('node %s is ready', 'n')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stderr.startswith(start) and "node n is ready" in done.stderr
    assert done.stderr.count("\n") == 1

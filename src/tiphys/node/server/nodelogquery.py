"""Queries of a machine's logs (``/logs/?query=SERVICE``): from systemd's journal, or from files of
/var/log. Only where the node's configuration has `enableSystemLogQuery`; upstream's
`pkg/kubelet/kubelet_server_journal.go`."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from tiphys.machinery import errors, timestamps
from tiphys.machinery.errors import FieldError

_MOST_SERVICES, _LONGEST_NAME = 4, 256
_MOST_LINES = 100_000
_SAFE_NAME = re.compile(r"[a-zA-Z\-_.:0-9@]+")
_PATIENCE = 30.0  # seconds that the journal has
_CHUNK = 64 << 10

Parameters = Sequence[tuple[str, str]]


class BadQuery(Exception):
    """`code` is 400 for parameters that cannot be read, 406 for those that do not fit."""

    def __init__(self, code: int, problems: Sequence[FieldError]) -> None:
        texts = list(dict.fromkeys(str(problem) for problem in problems))
        super().__init__(texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]")
        self.code = code


class Options(NamedTuple):
    """Times are seconds since the epoch; None where nothing is asked for."""

    since: float | None = None
    until: float | None = None
    lines: int | None = None
    boot: int | None = None
    pattern: str = ""


@dataclass(frozen=True)
class NodeLogQuery:
    """Of services, or of one file below /var/log."""

    services: tuple[str, ...]
    files: tuple[str, ...]
    options: Options

    def arguments(self, services: Sequence[str]) -> list[str]:
        """Of journalctl."""
        asked = self.options
        words = ["--utc", "--no-pager", "--output=short-precise"]
        if asked.since is not None:
            words.append(f"--since={_date(asked.since)}")
        if asked.until is not None:
            words.append(f"--until={_date(asked.until)}")
        if asked.lines is not None:
            words += ["--pager-end", f"--lines={asked.lines}"]
        words += [f"--unit={service}" for service in services]
        if asked.pattern:
            words += [f"--grep={asked.pattern}", "--case-sensitive=false"]
        if asked.boot is not None:
            words += ["--boot", str(asked.boot)]
        return words


def parse(parameters: Parameters) -> NodeLogQuery | None:
    """None where nothing is queried. Raises BadQuery."""
    queries = [value for name, value in parameters if name == "query"]
    if not queries:
        return None
    files = tuple(queried for queried in queries if "/" in queried or "\\" in queried)
    services = tuple(queried for queried in queries if queried.strip() and queried not in files)
    problems = []
    if not files and not services:
        problems.append(errors.invalid_value("query", queries[0], "query cannot be empty"))
    times: dict[str, float] = {}
    for name in ("sinceTime", "untilTime"):
        if text := _last(parameters, name):
            if seconds := timestamps.parse(text):
                times[name] = seconds
            else:
                problems.append(errors.invalid_value(name, text, "invalid time format"))
    numbers: dict[str, int] = {}
    for name in ("boot", "tailLines"):
        if text := _last(parameters, name):
            if re.fullmatch(r"[-+]?[0-9]{1,18}", text) is not None:
                numbers[name] = int(text)
            else:
                detail = f'strconv.Atoi: parsing "{text}": invalid syntax'
                problems.append(errors.invalid_value(name, text, detail))
    if problems:
        raise BadQuery(400, problems)
    options = Options(
        times.get("sinceTime"),
        times.get("untilTime"),
        numbers.get("tailLines"),
        numbers.get("boot"),
        _last(parameters, "pattern"),
    )
    query = NodeLogQuery(services, tuple(file.replace("\\", "/") for file in files), options)
    if misfits := list(_misfits(query)):
        raise BadQuery(406, misfits)
    return query


def _last(parameters: Parameters, name: str) -> str:
    return next((value for key, value in parameters if key == name), "")


def _misfits(query: NodeLogQuery) -> list[FieldError]:
    problems = [problem for service in query.services for problem in _name_problems(service)]
    if len(query.services) > _MOST_SERVICES:
        count = len(query.services)
        problems.append(errors.too_many("query", count, _MOST_SERVICES))
    shown = " ".join(query.files)
    if query.files and query.services:
        both = f"[{shown}], [{' '.join(query.services)}]"
        problems.append(errors.invalid_value("query", both, "cannot specify a file and service"))
    elif len(query.files) > 1:
        problems.append(errors.invalid_value("query", shown, "cannot specify more than one file"))
    elif query.files and query.options != Options():
        problems.append(errors.invalid_value("query", shown, "cannot specify file with options"))
    return problems + _option_problems(query.options)


def _name_problems(service: str) -> list[FieldError]:
    if len(service) > _LONGEST_NAME:
        detail = f"length must be less than {_LONGEST_NAME}"
        return [errors.invalid_value("query", service, detail)]
    if _SAFE_NAME.fullmatch(service) is None:
        detail = "input contains unsupported characters"
        return [errors.invalid_value("query", service, detail)]
    return []


def _option_problems(options: Options) -> list[FieldError]:
    problems = []
    if options.since is not None and options.until is not None and options.since > options.until:
        until = timestamps.rfc3339(options.until)
        problems.append(errors.invalid_value("untilTime", until, "must be after `sinceTime`"))
    if options.boot is not None and options.boot > 0:
        problems.append(errors.invalid_value("boot", options.boot, "must be less than 1"))
    if options.lines is not None and not 0 <= options.lines <= _MOST_LINES:
        detail = f"must be between 0 and {_MOST_LINES}, inclusive"
        problems.append(errors.invalid_value("tailLines", options.lines, detail))
    try:
        re.compile(options.pattern)
    except (re.error, RecursionError, OverflowError) as error:
        problems.append(errors.invalid_value("pattern", options.pattern, str(error)))
    return problems


def _date(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seconds))


# --- the journal ---


async def in_journal(service: str) -> bool:
    """Whether the journal knows the service."""
    listed = b""
    with contextlib.suppress(FileNotFoundError):
        async for chunk in _journal(["--field", "_SYSTEMD_UNIT"]):
            listed += chunk
    return f"{service}.service".encode() in listed


async def journal(query: NodeLogQuery, services: Sequence[str]) -> AsyncGenerator[bytes, None]:
    """What the journal has of services, for half a minute at most."""
    try:
        async for chunk in _journal(query.arguments(services)):
            yield chunk
    except FileNotFoundError:
        yield b"\nerror: journal output not available\n"


async def _journal(words: Sequence[str]) -> AsyncGenerator[bytes, None]:
    """Raises FileNotFoundError."""
    reading = await asyncio.create_subprocess_exec(
        "journalctl",
        *words,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert reading.stdout is not None
    try:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE):
                while chunk := await reading.stdout.read(_CHUNK):
                    yield chunk
                await reading.wait()
    finally:
        if reading.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                reading.kill()

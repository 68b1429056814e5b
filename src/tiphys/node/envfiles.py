"""Variables out of files that other containers of the pod wrote to a volume (`fileKeyRef`): lines ``NAME='value'``.

The volume is the containers': no link in it is followed, and no more than a megabyte is read.
"""

from __future__ import annotations

import os

from tiphys.machinery import handles

_LARGEST = 1 << 20  # bytes of a file


class EnvFileError(ValueError):
    """The file is not one of variables; the text is upstream's."""


def variable(volume: str, path: str, key: str) -> str:
    """The value of a variable, "" if the file has none of that name. `volume` is the volume's folder. Raises EnvFileError,
    OSError."""
    return value_of(_read(volume, path).decode(errors="replace"), key)


def _read(volume: str, path: str) -> bytes:
    root = os.open(volume, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return handles.read_file(root, path, _LARGEST)
    finally:
        os.close(root)


def value_of(text: str, key: str) -> str:
    """The value of the first variable of a name. A value stands in single quotes, over as many lines as it likes. Raises
    EnvFileError."""
    lines = text.split("\n")
    at = 0
    while at < len(lines):
        number, line = at + 1, lines[at].lstrip(" \t")
        at += 1
        if not line or line.startswith("#"):
            continue
        name, equals, value = line.partition("=")
        _check(number, name, equals)
        if value[:1] in (" ", "\t"):  # as a shell has it, the variable is empty
            if name == key:
                return ""
            continue
        if not value.startswith("'"):
            raise _invalid(number, "value must be enclosed in single quotes")
        value = value[1:]
        while "'" not in value:
            if at >= len(lines):
                raise EnvFileError(
                    f"invalid environment variable format starting at line {number}: unclosed single quote"
                )
            value += f"\n{lines[at]}"
            at += 1
        value, _, rest = value.partition("'")
        rest = rest.lstrip(" \t")
        if rest and not rest.startswith("#"):
            raise _invalid(at, "unexpected content after closing quote")
        if name == key:
            return value
    return ""


def _check(number: int, name: str, equals: str) -> None:
    if not equals:
        raise _invalid(number, "missing '='")
    if not name.strip(" \t"):
        raise _invalid(number, "empty variable name")
    if name != name.rstrip(" \t"):
        raise _invalid(number, "whitespace before '=' is not allowed")


def _invalid(line: int, why: str) -> EnvFileError:
    return EnvFileError(f"invalid environment variable format at line {line}: {why}")

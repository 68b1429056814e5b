"""Variables from files that other containers of the pod wrote to a volume (`fileKeyRef`): lines
``NAME='value'``.

The volume is the containers': no link in it is followed, and no more than a megabyte is read.
"""

from __future__ import annotations

import os

from tiphys.machinery import handles

_LARGEST = 1 << 20  # bytes of a file
_BLANKS = " \t"


class EnvFileError(ValueError):
    """The file is not one of variables; the text is upstream's."""


def variable(volume: str, path: str, key: str) -> str:
    """The value of a variable; "" if the file has none of that name. `volume` is the volume's
    folder. Raises EnvFileError, OSError."""
    root = os.open(volume, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        content = handles.read_file(root, path, _LARGEST)
    finally:
        os.close(root)
    return value_of(content.decode(errors="replace"), key)


def value_of(text: str, key: str) -> str:
    """The value of the first variable of a name. A value is in single quotes and may have any
    number of lines. Raises EnvFileError."""
    lines = text.split("\n")
    index = 0
    while index < len(lines):
        number = index + 1
        line = lines[index].lstrip(_BLANKS)
        index += 1
        if not line or line.startswith("#"):
            continue
        name, equals, value = line.partition("=")
        _check(number, name, equals)
        if value.startswith((" ", "\t")):  # as in a shell, the variable is empty
            if name == key:
                return ""
            continue
        if not value.startswith("'"):
            raise _invalid(number, "value must be enclosed in single quotes")
        value = value[1:]
        while "'" not in value:
            if index >= len(lines):
                raise EnvFileError(
                    "invalid environment variable format "
                    f"starting at line {number}: unclosed single quote"
                )
            value += f"\n{lines[index]}"
            index += 1
        value, _, rest = value.partition("'")
        rest = rest.lstrip(_BLANKS)
        if rest and not rest.startswith("#"):
            raise _invalid(index, "unexpected content after closing quote")
        if name == key:
            return value
    return ""


def _check(number: int, name: str, equals: str) -> None:
    if not equals:
        raise _invalid(number, "missing '='")
    if not name.strip(_BLANKS):
        raise _invalid(number, "empty variable name")
    if name != name.rstrip(_BLANKS):
        raise _invalid(number, "whitespace before '=' is not allowed")


def _invalid(line: int, problem: str) -> EnvFileError:
    return EnvFileError(f"invalid environment variable format at line {line}: {problem}")

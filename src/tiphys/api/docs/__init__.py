"""What `kubectl explain` says of types and fields, in our own words.

The words are in the text files beside this one: a line for a type (``Name: text``, or ``Name <
Other: text`` when it has the fields of another), and indented lines for its fields. What stands
below ``*`` holds wherever a type says nothing of a field itself. They are read when a schema is
first asked for.
"""

from __future__ import annotations

import functools
from importlib.resources import files

EVERY = "*"


class _Words:
    """All text files together."""

    def __init__(self) -> None:
        self.types: dict[str, str] = {}
        self.fields: dict[str, dict[str, str]] = {}
        self.like: dict[str, str] = {}
        for file in sorted(files(__name__).iterdir(), key=lambda file: file.name):
            if file.name.endswith(".txt"):
                self._read(file.read_text(encoding="utf-8"))

    def _read(self, text: str) -> None:
        current = ""
        for line in text.splitlines():
            if not line or line.startswith("#"):
                continue
            name, _, words = line.partition(":")
            if line.startswith("  "):
                self.fields[current][name.strip()] = words.strip()
                continue
            current, _, other = (part.strip() for part in name.partition("<"))
            self.types[current] = words.strip()
            self.fields[current] = {}
            if other:
                self.like[current] = other

    def field(self, kind: str, name: str) -> str:
        found = self.fields.get(kind, {}).get(name, "")
        if not found and kind in self.like:
            return self.field(self.like[kind], name)
        return found or self.fields[EVERY].get(name, "")


@functools.cache
def _words() -> _Words:
    return _Words()


def of_type(kind: type) -> str:
    """The line of a type, "" when there is none."""
    return _words().types.get(kind.__name__, "")


def of_field(kind: type, name: str) -> str:
    """The line of a field by its JSON name, "" when there is none."""
    return _words().field(kind.__name__, name)

"""YAML as upstream's encoder writes it."""

from __future__ import annotations

import re
from typing import Any

import yaml

# What PyYAML takes for plain text and other readers do not.
_AMBIGUOUS = re.compile(r"~|[yYnN]|[-+]?[0-9][0-9_]*(\.[0-9]*)?[eE][-+]?[0-9]+")
_Base: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class _Dumper(_Base):  # type: ignore[misc]
    """Strings that would be read as something else stand in double quotes, long ones in blocks."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _string(dumper: Any, text: str) -> Any:
    style = None
    if "\n" in text:
        style = "|"
    elif (
        _AMBIGUOUS.fullmatch(text)
        or dumper.resolve(yaml.ScalarNode, text, (True, False)) != "tag:yaml.org,2002:str"
    ):
        style = '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _string)


def dump(value: Any) -> bytes:
    """Plain dicts and lists as a YAML document, keys in order."""
    return yaml.dump(
        value, Dumper=_Dumper, default_flow_style=False, allow_unicode=True, width=1 << 20
    ).encode()

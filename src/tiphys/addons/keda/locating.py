"""A number in a document: in JSON by a path as gjson has it, in XML and YAML by a path of keys, in
Prometheus' text by a selector. Pure."""

from __future__ import annotations

import re
import xml.parsers.expat
from typing import Any

import msgspec
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tiphys.machinery.quantity import nano

_LONGEST_YAML = 256 << 10  # bytes: reading takes 10 µs for each
_SELECTOR = re.compile(r"^\s*([a-zA-Z_:][\w:]*)?\s*(?:\{(.*)\})?\s*$", re.DOTALL)
_MATCHER = re.compile(r'\s*([a-zA-Z_]\w*)\s*(=~|!~|!=|=)\s*"((?:[^"\\]|\\.)*)"\s*(?:,|$)')
_QUERY = re.compile(r'^#\(\s*([\w.-]+)\s*(==|!=|<=|>=|<|>)\s*("?)(.*?)\3\s*\)(#?)$')


class LocationError(ValueError):
    """There is no number there; the text is KEDA's message."""


def value_in(body: bytes, location: str, form: str) -> float:
    """The number at a location. Raises LocationError."""
    match form:
        case "json":
            return _of_json(body, location)
        case "xml":
            return _scalar(by_path(_xml(body), location), location)
        case "yaml":
            return _scalar(by_path(_yaml(body), location), location)
        case "prometheus":
            return _of_prometheus(body, location)
    raise LocationError(f"format {form} not supported")


def _scalar(value: Any, location: str) -> float:
    if isinstance(value, bool) or value is None:
        raise LocationError(_wrong(location, type(value).__name__))
    if isinstance(value, int | float):
        return float(value)
    if not isinstance(value, str):
        raise LocationError(_wrong(location, type(value).__name__))
    try:
        return nano(value) / 10**9
    except ValueError:
        raise LocationError(
            f'valueLocation "{location}" points to a string that is not parseable as a Quantity'
        ) from None


def _wrong(location: str, kind: str) -> str:
    return (
        f'valueLocation "{location}" must point to a numeric value or a string parseable as a '
        f"Quantity, got {kind}"
    )


# --- JSON ---


def _of_json(body: bytes, location: str) -> float:
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        document = None
    value = find_json(document, _parts(location))
    kinds = {bool: str(value).title(), dict: "JSON", list: "JSON", type(None): "Null"}
    if type(value) in kinds:
        raise LocationError(_wrong(location, kinds[type(value)]))
    return _scalar(value, location)


def _parts(path: str) -> list[str]:
    """A path's parts: dots divide them, but not within a query or after a backslash."""
    parts = [""]
    depth = 0
    letters = iter(path)
    for letter in letters:
        if letter == "\\":
            parts[-1] += next(letters, "")
        elif letter in ".|" and not depth:
            parts.append("")
        else:
            depth += (letter == "(") - (letter == ")")
            parts[-1] += letter
    return parts


def find_json(value: Any, parts: list[str]) -> Any:
    """What a path of gjson leads to; None for nothing. Keys, places in arrays, ``#`` for an array's
    length or for each of its members, and queries ``#(key==value)``."""
    for place, part in enumerate(parts):
        rest = parts[place + 1 :]
        if isinstance(value, dict):
            value = value.get(part)
        elif not isinstance(value, list):
            return None
        elif part == "#":
            if not rest:
                return len(value)
            matches = [find_json(one, rest) for one in value]
            return [one for one in matches if one is not None]
        elif part.startswith("#("):
            chosen = _queried(value, part)
            if part.endswith("#"):
                return find_json(chosen, ["#", *rest]) if rest else chosen
            value = chosen[0] if chosen else None
        elif part.isdecimal():
            value = value[int(part)] if int(part[:9]) < len(value) else None
        else:
            return None
    return value


def _queried(rows: list[Any], query: str) -> list[Any]:
    match = _QUERY.match(query)
    if match is None:
        return []
    key, sign, quote, text, _ = match.groups()
    wanted: Any = text
    if not quote:
        try:
            wanted = msgspec.json.decode(text)
        except msgspec.DecodeError:
            wanted = text
    return [row for row in rows if _compares(find_json(row, key.split(".")), sign, wanted)]


def _compares(left: Any, sign: str, right: Any) -> bool:
    if sign == "==":
        return bool(left == right)
    if sign == "!=":
        return bool(left != right)
    both_numbers = isinstance(left, int | float) and isinstance(right, int | float)
    if not both_numbers and not (isinstance(left, str) and isinstance(right, str)):
        return False
    match sign:
        case "<":
            return bool(left < right)
        case "<=":
            return bool(left <= right)
        case ">":
            return bool(left > right)
    return bool(left >= right)


# --- XML and YAML ---


def by_path(document: Any, path: str) -> Any:
    """The first scalar on a path of keys and places. Raises LocationError."""
    current = document
    for key in path.split("."):
        if isinstance(current, list):
            current = {str(place): one for place, one in enumerate(current)}
        if not isinstance(current, dict):
            return current
        words = {str(name): one for name, one in current.items()}
        if key not in words:
            raise LocationError(f"key '{key}' not found in path '{path}'")
        current = words[key]
    if isinstance(current, dict | list):
        raise LocationError(f"path '{path}' does not lead to a value")
    return current


def _yaml(body: bytes) -> Any:
    if len(body) > _LONGEST_YAML:
        raise LocationError(f"the answer has more than {_LONGEST_YAML} bytes")
    try:
        return yaml.safe_load(body)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise LocationError(f"yaml: {error}") from None


def _xml(body: bytes) -> dict[str, Any]:
    """Elements by name: of several of one name a list, of one with text alone the text. Attributes
    have a dash in front."""
    stack: list[tuple[str, dict[str, Any], list[str]]] = [("", {}, [])]

    def start(name: str, attributes: dict[str, str]) -> None:
        stack.append((name, {f"-{key}": value for key, value in attributes.items()}, []))

    def end(name: str) -> None:
        _, children, texts = stack.pop()
        text = "".join(texts).strip()
        value: Any = {**children, "#text": text} if children and text else children or text
        _add(stack[-1][1], name, value)

    def no_entities(*_: Any) -> None:
        raise LocationError("xml: a document type is not read")

    parser = xml.parsers.expat.ParserCreate()
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = lambda data: stack[-1][2].append(data)
    parser.StartDoctypeDeclHandler = no_entities
    try:
        parser.Parse(body, True)
    except xml.parsers.expat.ExpatError as error:
        raise LocationError(f"xml: {error}") from None
    return stack[0][1]


def _add(parent: dict[str, Any], name: str, value: Any) -> None:
    if name not in parent:
        parent[name] = value
    elif isinstance(parent[name], list):
        parent[name].append(value)
    else:
        parent[name] = [parent[name], value]


# --- Prometheus ---


def _of_prometheus(body: bytes, location: str) -> float:
    name, wanted = _selector(location)
    text = body.decode(errors="replace").replace("\r\n", "\n")
    known = False
    try:
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name != name:
                    continue
                known = True
                if all(sample.labels.get(key) == value for key, value in wanted.items()):
                    return float(sample.value)
    except ValueError as error:
        raise LocationError(f"prometheus format parsing error: {error}") from None
    if not known:
        raise LocationError(f"metric '{name}' not found")
    raise LocationError(f"value {location} not found")


def _selector(text: str) -> tuple[str, dict[str, str]]:
    """A metric's name and its labels. As KEDA has it, every matcher is one of equality."""
    match = _SELECTOR.match(text)
    if match is None:
        raise LocationError(f'unexpected "{text}" in a metric selector')
    name = match.group(1) or ""
    inner = match.group(2) or ""
    labels = {}
    place = 0
    while place < len(inner.rstrip()):
        matcher = _MATCHER.match(inner, place)
        if matcher is None:
            raise LocationError(f'unexpected "{inner[place:]}" in label matching')
        labels[matcher.group(1)] = matcher.group(3).replace('\\"', '"')
        place = matcher.end()
    return labels.pop("__name__", name), labels

"""Several OpenAPI v2 documents as one: that of this server and the parts of aggregated servers that
are about their groups."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

_REF = "#/definitions/"


def merged(own: dict[str, Any], others: Iterable[tuple[str, dict[str, Any]]]) -> dict[str, Any]:
    """`others` are (path prefix, document). A model that this server has already under the same
    name, but otherwise, gets a new name: NAME_v2 and so on, as upstream's aggregator does."""
    paths = dict(own["paths"])
    models = dict(own["definitions"])
    parameters = dict(own.get("parameters") or {})
    for prefix, document in others:
        wanted = _paths_below(prefix, document)
        theirs = document.get("definitions") or {}
        needed = _reachable(wanted, theirs)
        names = {name: _free(name, theirs[name], models) for name in needed}
        for name in needed:
            models[names[name]] = _renamed(theirs[name], names)
        for name, parameter in (document.get("parameters") or {}).items():
            parameters.setdefault(name, parameter)
        for path, item in wanted.items():
            paths.setdefault(path, _renamed(item, names))
    return {**own, "paths": paths, "definitions": models, "parameters": parameters}


def _paths_below(prefix: str, document: dict[str, Any]) -> dict[str, Any]:
    below = f"{prefix}/"
    paths = document.get("paths") or {}
    return {path: item for path, item in paths.items() if path == prefix or path.startswith(below)}


def _free(name: str, model: Any, models: dict[str, Any]) -> str:
    """A name that no other model has."""
    number = 1
    free = name
    while free in models and models[free] != model:
        number += 1
        free = f"{name}_v{number}"
    return free


def _references(value: Any) -> set[str]:
    if isinstance(value, dict):
        ref = value.get("$ref")
        own = {ref.removeprefix(_REF)} if isinstance(ref, str) and ref.startswith(_REF) else set()
        return own.union(*(_references(item) for item in value.values()))
    if isinstance(value, list):
        return set[str]().union(*(_references(item) for item in value))
    return set()


def _reachable(paths: dict[str, Any], models: dict[str, Any]) -> list[str]:
    """The models that the paths need, and those that these need."""
    reachable: dict[str, None] = {}
    waiting = sorted(_references(paths))
    while waiting:
        name = waiting.pop()
        if name in models and name not in reachable:
            reachable[name] = None
            waiting += sorted(_references(models[name]))
    return list(reachable)


def _renamed(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, dict):
        renamed = {key: _renamed(item, names) for key, item in value.items()}
        ref = renamed.get("$ref")
        if isinstance(ref, str) and ref.startswith(_REF):
            name = ref.removeprefix(_REF)
            renamed["$ref"] = _REF + names.get(name, name)
        return renamed
    return [_renamed(item, names) for item in value] if isinstance(value, list) else value

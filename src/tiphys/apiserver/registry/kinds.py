"""Whether an object is of the kind and version that it was sent as, and whether all its fields are
known.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

from tiphys.api.catalog import RESOURCES
from tiphys.api.custom import CustomObject
from tiphys.apiserver.http.request import warn
from tiphys.machinery import errors


class Strict(ValueError):
    """What strict decoding refuses."""


@dataclass(frozen=True, slots=True)
class FieldValidation:
    """What happens to unknown and duplicate fields: `mode` is Ignore, Warn or Strict."""

    mode: str = "Warn"

    @property
    def ignored(self) -> bool:
        return self.mode == "Ignore"

    @property
    def strict(self) -> bool:
        return self.mode == "Strict"

    def report(self, problems: list[str]) -> None:
        """Warns of the problems, or raises Strict."""
        if self.ignored or not problems:
            return
        if self.strict:
            raise Strict("strict decoding error: " + ", ".join(problems))
        for problem in problems:
            warn(problem)


@functools.lru_cache(2048)
def _version_and_kind(kind: Any) -> tuple[str, str]:
    """(apiVersion, kind) of a type."""
    obj = kind()
    return obj.api_version, obj.kind


@functools.cache
def _built_in() -> frozenset[tuple[str, str]]:
    return frozenset((resource.api_version, resource.kind) for resource in RESOURCES)


def check_kind(obj: Any, kind: Any) -> None:
    """Raises 400, or 422 for an object of a custom resource, in upstream's words. A built-in one
    without a kind is of the path's kind."""
    version, name = _version_and_kind(kind)
    if not issubclass(kind, CustomObject):
        obj.kind = obj.kind or name
        obj.api_version = obj.api_version or version
    if obj.kind == name and obj.api_version == version:
        return
    custom = issubclass(kind, CustomObject)
    if custom and obj.api_version == version:
        problem = errors.invalid_value("kind", obj.kind, f"must be {name}")
        group = version.rpartition("/")[0]
        raise errors.invalid(obj.kind, group, obj.metadata.name, [problem])
    if custom or (obj.kind == name and (obj.api_version, name) in _built_in()):
        raise errors.bad_request(
            f"the API version in the data ({obj.api_version}) does not match the expected"
            f" API version ({version})"
        )
    sent_version = obj.api_version.rpartition("/")[2]
    cannot = f'{obj.kind} in version "{sent_version}" cannot be handled as a {name}: '
    if (obj.api_version, obj.kind) in _built_in():
        group = version.partition(".")[0].partition("/")[0] if "/" in version else "core"
        reason = f"converting ({sent_version}.{obj.kind}) to ({group}.{name}): unknown conversion"
        raise errors.bad_request(cannot + reason)
    raise errors.bad_request(
        f'{cannot}no kind "{obj.kind}" is registered for version "{obj.api_version}"'
        ' in scheme "tiphys"'
    )

"""Objects of kinds that are declared at run time: typed metadata, and everything else as plain
dicts and lists."""

from __future__ import annotations

from typing import Any

from tiphys.api.base import Plain, from_builtins
from tiphys.api.meta_v1 import ObjectMeta


class CustomObject(Plain):
    """One custom resource. Subclasses made by `custom_type` carry the kind. `content` is all but
    the three below."""

    KIND = ""
    API_VERSION = ""

    __slots__ = ("api_version", "content", "kind", "metadata")

    def __init__(
        self, metadata: ObjectMeta | None = None, content: dict[str, Any] | None = None
    ) -> None:
        self.api_version = self.API_VERSION
        self.kind = self.KIND
        self.metadata = metadata or ObjectMeta()
        self.content: dict[str, Any] = content if content is not None else {}

    @classmethod
    def from_plain(cls, value: Any) -> CustomObject:
        if not isinstance(value, dict):
            raise ValueError("Expected `object`")
        content = dict(value)
        made = cls(from_builtins(content.pop("metadata", None) or {}, ObjectMeta))
        made.api_version = content.pop("apiVersion", "")
        made.kind = content.pop("kind", "")
        if not isinstance(made.api_version, str) or not isinstance(made.kind, str):
            raise ValueError("apiVersion and kind must be strings")
        made.content = content
        return made

    def to_plain(self) -> dict[str, Any]:
        # metadata stands before the content: the watch cache looks for the first "metadata" of the
        # bytes
        return {
            "apiVersion": self.api_version,
            "kind": self.kind,
            "metadata": self.metadata,
            **self.content,
        }

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CustomObject) and self.to_plain() == other.to_plain()


def custom_type(api_version: str, kind: str) -> type[CustomObject]:
    """The class of a custom kind in one version."""
    return type(kind, (CustomObject,), {"KIND": kind, "API_VERSION": api_version, "__slots__": ()})

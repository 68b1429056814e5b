"""A schema, compiled: what every place of an object may be."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from tiphys.machinery.errors import FieldError
from tiphys.machinery.keywords import checks_of

UNSET: Any = object()
ROOT = ("apiVersion", "kind", "metadata")
Branch = tuple[str, tuple["Schema", ...]]  # allOf, anyOf, oneOf or not; its schemas


@dataclass(slots=True)
class Schema:
    """One node of a schema.

    facts:        the published JSON of the node, for documentation and rarely used keywords
    additional:   of properties that `properties` does not name, None if there may be none
    preserve:     what the schema does not name is kept
    embedded:     the value is an object with a kind and metadata of its own
    checks:       of the value by itself, see `keywords`
    rules:        x-kubernetes-validations
    has_...:      whether the node, or any below it, has some
    """

    facts: dict[str, Any]
    type: str = ""
    properties: dict[str, Schema] = field(default_factory=dict)
    additional: Schema | None = None
    items: Schema | None = None
    nullable: bool = False
    preserve: bool = False
    embedded: bool = False
    int_or_string: bool = False
    default: Any = UNSET
    list_type: str = ""
    list_keys: tuple[str, ...] = ()
    map_type: str = ""
    required: tuple[str, ...] = ()
    checks: tuple[Callable[[Any, str], FieldError | None], ...] = ()
    branches: tuple[Branch, ...] = ()
    rules: tuple[dict[str, Any], ...] = ()
    default_size: int = 0  # bytes of its JSON
    has_defaults: bool = False
    has_rules: bool = False
    has_embedded: bool = False
    _for_rules: Schema | None = None

    def as_seen(self, root: bool = False) -> Schema:
        """The schema as rules see it.

        Rules of a resource's root, or of an embedded object's, know its kind and names, whether or
        not the schema declares them.
        """
        if not (root or self.embedded) or _declares_kind_and_names(self):
            return self
        if self._for_rules is None:
            self._for_rules = replace(self, properties={**self.properties, **_OBJECT_META})
            self._for_rules._for_rules = self._for_rules
        return self._for_rules

    @property
    def has_default(self) -> bool:
        return self.default is not UNSET

    def child(self, name: str) -> Schema | None:
        return self.properties.get(name) or self.additional


def rules_in(schema: Schema) -> Iterator[str]:
    """The text of every rule of a schema."""
    if not schema.has_rules:
        return
    yield from (rule["rule"] for rule in schema.rules if isinstance(rule.get("rule"), str))
    for inner in (*schema.properties.values(), schema.additional, schema.items):
        if inner is not None:
            yield from rules_in(inner)


def _declares_kind_and_names(schema: Schema) -> bool:
    properties = schema.properties
    meta = properties.get("metadata")
    if meta is None or meta.type != "object":
        return False
    texts = [properties.get("kind"), properties.get("apiVersion")]
    texts += [meta.properties.get("name"), meta.properties.get("generateName")]
    return all(inner is not None and inner.type == "string" for inner in texts)


_TEXT = Schema({"type": "string"}, type="string")
_NAMES = Schema(
    {"type": "object"}, type="object", properties={"name": _TEXT, "generateName": _TEXT}
)
_OBJECT_META = {"kind": _TEXT, "apiVersion": _TEXT, "metadata": _NAMES}
ANYTHING = Schema({}, preserve=True)
NOTHING = Schema({})


def compile_schema(facts: dict[str, Any]) -> Schema:
    """The compiled form of one node and all below it."""
    items = facts.get("items")
    properties = facts.get("properties") or {}
    node = Schema(
        facts,
        type=facts.get("type", ""),
        properties={name: compile_schema(inner) for name, inner in properties.items()},
        additional=_additional(facts.get("additionalProperties")),
        items=compile_schema(items) if isinstance(items, dict) else None,
        nullable=bool(facts.get("nullable")),
        preserve=bool(facts.get("x-kubernetes-preserve-unknown-fields")),
        embedded=bool(facts.get("x-kubernetes-embedded-resource")),
        int_or_string=bool(facts.get("x-kubernetes-int-or-string")),
        default=facts.get("default", UNSET),
        list_type=facts.get("x-kubernetes-list-type") or "",
        list_keys=tuple(facts.get("x-kubernetes-list-map-keys") or ()),
        map_type=facts.get("x-kubernetes-map-type") or "",
        required=tuple(facts.get("required") or ()),
        checks=tuple(checks_of(facts)),
        branches=tuple(_branches(facts)),
        rules=tuple(facts.get("x-kubernetes-validations") or ()),
    )
    below = list(node.properties.values())
    if node.additional is not None:
        below.append(node.additional)
    if node.items is not None:
        below.append(node.items)
    if node.has_default:
        node.default_size = len(msgspec.json.encode(node.default))
    node.has_defaults = node.has_default or any(inner.has_defaults for inner in below)
    node.has_rules = bool(node.rules) or any(inner.has_rules for inner in below)
    node.has_embedded = node.embedded or any(inner.has_embedded for inner in below)
    return node


def _additional(facts: Any) -> Schema | None:
    """Of additionalProperties, which are a schema or a boolean."""
    if isinstance(facts, dict):
        return compile_schema(facts)
    return ANYTHING if facts is True else None


def _branches(facts: dict[str, Any]) -> list[Branch]:
    branches: list[Branch] = []
    for keyword in ("allOf", "anyOf", "oneOf"):
        if facts.get(keyword):
            branches.append((keyword, tuple(compile_schema(inner) for inner in facts[keyword])))
    if facts.get("not"):
        branches.append(("not", (compile_schema(facts["not"]),)))
    return branches

"""Structural schemas of custom resources: pruning, defaulting and validation of plain dicts and
lists.

A schema is compiled once from a CustomResourceDefinition's JSON (`schema`). Sentences are those
that upstream's validator writes.
"""

from tiphys.machinery.structural.defaulting import Growth, TooMuch, apply_defaults
from tiphys.machinery.structural.embedded import embedded_meta_errors, unreadable_embedded
from tiphys.machinery.structural.lists import correlated, list_key
from tiphys.machinery.structural.pruning import drop_nulls, prune
from tiphys.machinery.structural.schema import (
    ANYTHING,
    ROOT,
    UNSET,
    Schema,
    compile_schema,
    rules_in,
)
from tiphys.machinery.structural.types import json_type
from tiphys.machinery.structural.validation import validate

__all__ = [
    "ANYTHING",
    "ROOT",
    "UNSET",
    "Growth",
    "Schema",
    "TooMuch",
    "apply_defaults",
    "compile_schema",
    "correlated",
    "drop_nulls",
    "embedded_meta_errors",
    "json_type",
    "list_key",
    "prune",
    "rules_in",
    "unreadable_embedded",
    "validate",
]

"""Facts of the original definitions of Gateway API (the release after 1.5, standard channel), to compare ours with.

A digest for each field of a spec or status: of types, limits, patterns, enumerations, defaults, lists, required fields
and CEL rules; descriptions are our own. ``python -m tests.addons.gateway.originals FOLDER`` prints those of a release.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

_IGNORED = ("description", "x-kubernetes-preserve-unknown-fields")


def facts(schema: Any, name: str = "") -> Any:
    """What a schema says, in one order. Conditions are those of meta/v1 everywhere."""
    if isinstance(schema, list):
        return [facts(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if name == "conditions":
        schema = {key: value for key, value in schema.items() if key != "items"}
    found = {
        key: facts(value, key)
        for key, value in schema.items()
        if not (key in _IGNORED and isinstance(value, str | bool))
    }
    for key in ("required", "x-kubernetes-list-map-keys"):
        if isinstance(found.get(key), list):
            found[key] = sorted(found[key])
    if "x-kubernetes-validations" in found:
        found["x-kubernetes-validations"].sort(key=lambda rule: json.dumps(rule, sort_keys=True))
    return found


def digests(definition: Any) -> Iterator[tuple[str, str]]:
    """``Kind.spec.field`` and its digest, of version v1."""
    kind = definition["spec"]["names"]["kind"]
    version = next(one for one in definition["spec"]["versions"] if one["name"] == "v1")
    whole = version["schema"]["openAPIV3Schema"]["properties"]
    for part in ("spec", "status"):
        for name, schema in whole.get(part, {}).get("properties", {}).items():
            text = json.dumps(facts(schema, name), sort_keys=True)
            yield f"{kind}.{part}.{name}", hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


if __name__ == "__main__":
    for file in sorted(Path(sys.argv[1]).glob("*.yaml")):
        for document in yaml.safe_load_all(file.read_text()):
            if document["kind"] == "CustomResourceDefinition":
                for field, digest in digests(document):
                    print(f'    "{field}": "{digest}",')

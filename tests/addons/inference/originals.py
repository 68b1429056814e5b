"""The original definitions and samples (aws/sagemaker-hyperpod-cli, chart inference-operator).

They are not part of this project. `INFERENCE_ORIGINALS` names a folder with its `crds` and
`samples`; a checkout's neighbour `shared/seeds/inference` is found by itself. Digests of what the
definitions say are kept in a test, so that it is compared everywhere. ``python -m
tests.addons.inference.originals`` prints them.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

_NEAR = "shared/seeds/inference"
# What the original has from the API of a pod, of the release that it was built with: ours is that
# of this one.
_OF_PODS = {
    "initContainers",
    "volumes",
    "nodeAffinity",
    "resources",
    "environmentVariables",
    "livenessProbe",
    "readinessProbe",
    "startupProbe",
    "tokenSecretRef",
    "conditions",
}
_IGNORED = ("description", "x-kubernetes-validations")


def folder() -> Path | None:
    named = os.environ.get("INFERENCE_ORIGINALS")
    if named:
        return Path(named)
    found = (parent / _NEAR for parent in Path(__file__).parents)
    return next((path for path in found if path.is_dir()), None)


def samples(root: Path) -> dict[str, Any]:
    return {one.stem: yaml.safe_load(one.read_text()) for one in (root / "samples").glob("*.yaml")}


def facts(schema: Any, path: str = "") -> Any:
    """What a schema says, without words and without what pods have."""
    name = path.rpartition(".")[2]
    is_pods = name in _OF_PODS and not path.startswith("JumpStartModel.")
    if is_pods or name == "conditions" or path.endswith("deploymentStatus.status"):
        return {"type": schema.get("type")}
    found = {
        key: value
        for key, value in schema.items()
        if key not in (*_IGNORED, "properties", "items", "required")
    }
    if "properties" in schema:
        found["properties"] = {
            key: facts(value, f"{path}.{key}") for key, value in schema["properties"].items()
        }
    if "items" in schema:
        found["items"] = facts(schema["items"], f"{path}[]")
    if schema.get("required"):
        found["required"] = sorted(schema["required"])
    return found


def digests(definition: Any) -> Iterator[tuple[str, str]]:
    """``Kind.version.spec.field`` and its digest."""
    kind = definition["spec"]["names"]["kind"]
    for version in definition["spec"]["versions"]:
        whole = version["schema"]["openAPIV3Schema"]["properties"]
        for part in ("spec", "status"):
            parts = whole[part].get("properties", {})
            parts = {**parts, "": {"required": sorted(whole[part].get("required", []))}}
            for name, schema in parts.items():
                text = json.dumps(facts(schema, f"{kind}.{part}.{name}"), sort_keys=True)
                digest = hashlib.blake2b(text.encode(), digest_size=6).hexdigest()
                yield f"{kind}.{version['name']}.{part}.{name}", digest


if __name__ == "__main__":
    root = folder()
    assert root is not None
    for file in sorted((root / "crds").glob("*.yaml")):
        for field, digest in digests(yaml.safe_load(file.read_text())):
            print(f'    "{field}": "{digest}",')

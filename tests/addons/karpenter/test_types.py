"""The definitions of NodePool and NodeClaim, beside those that karpenter.sh publishes."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tests.addons.karpenter.originals import ROOT, needs_originals
from tiphys.addons.karpenter.types import NodeClaim, NodeOverlay, NodePool
from tiphys.api.base import to_builtins
from tiphys.operator import definition


def plain(node: Any, name: str = "") -> Any:
    """A definition without prose and without an order where none is meant. Conditions are those of
    meta/v1; the rule about labels of kwok's own cloud is not ours."""
    if isinstance(node, list):
        kept = [each for each in node if "kwok" not in str(each)] if name == "rules" else node
        return [plain(each) for each in kept]
    if not isinstance(node, dict):
        return node
    if name == "conditions":
        node = {key: value for key, value in node.items() if key != "items"}
    inner = {"x-kubernetes-validations": "rules"}
    found = {
        key: plain(value, inner.get(key, key))
        for key, value in node.items()
        if not (key == "description" and isinstance(value, str))
    }
    if isinstance(found.get("required"), list):
        found["required"] = sorted(found["required"])
    if rules := found.get("x-kubernetes-validations"):
        rules.sort(key=lambda rule: rule["rule"])
    return found


@needs_originals
@pytest.mark.parametrize("kind", [NodePool, NodeClaim, NodeOverlay])
def test_a_definition_is_the_published_one(kind: Any) -> None:
    assert ROOT is not None
    name = kind.resource.plural
    original = plain(yaml.safe_load((ROOT / f"crds/karpenter.sh_{name}.yaml").read_text()))
    ours = plain(to_builtins(definition(kind)))
    assert ours["spec"]["names"] == original["spec"]["names"]
    (mine,), (theirs,) = ours["spec"]["versions"], original["spec"]["versions"]
    for part in ("spec", "status"):
        found = mine["schema"]["openAPIV3Schema"]["properties"][part]
        expected = theirs["schema"]["openAPIV3Schema"]["properties"][part]
        compare(found, expected, part)
    assert mine["additionalPrinterColumns"] == theirs["additionalPrinterColumns"]
    assert mine["subresources"] == theirs["subresources"]


def compare(found: Any, expected: Any, path: str) -> None:
    """Names the first field that differs."""
    if isinstance(found, dict) and isinstance(expected, dict):
        assert found.keys() == expected.keys(), path
        for key in found:
            compare(found[key], expected[key], f"{path}.{key}")
    else:
        assert found == expected, path

"""The definition of RouteGroup, beside the one that zalando.org publishes."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tests.addons.routeserver.goldens import folder
from tiphys.addons.routeserver.types import RouteGroup
from tiphys.api.base import to_builtins
from tiphys.operator import definition

ROOT = folder()
ORIGINAL = ROOT.parent / "crds/routegroups.yaml" if ROOT is not None else None


def plain(node: Any) -> Any:
    """A definition without prose, and without an order where none is meant."""
    if isinstance(node, list):
        return [plain(each) for each in node]
    if not isinstance(node, dict):
        return node
    found = {key: plain(value) for key, value in node.items() if key != "description"}
    for key in ("required", "enum"):
        if isinstance(found.get(key), list):
            found[key] = sorted(found[key])
    return found


@pytest.mark.skipif(
    ORIGINAL is None or not ORIGINAL.exists(), reason="the original is not here (SKIPPER_GOLDENS)"
)
def test_the_definition_is_the_published_one() -> None:
    assert ORIGINAL is not None
    original = plain(yaml.safe_load(ORIGINAL.read_text()))
    ours = plain(to_builtins(definition(RouteGroup)))
    assert ours["spec"]["names"] == original["spec"]["names"]
    (mine,), (theirs,) = ours["spec"]["versions"], original["spec"]["versions"]
    assert mine.keys() == theirs.keys()
    assert mine["schema"]["openAPIV3Schema"] == theirs["schema"]["openAPIV3Schema"]
    assert mine["additionalPrinterColumns"] == theirs["additionalPrinterColumns"]
    assert mine["subresources"] == theirs["subresources"]

"""Skipper's own cases: what it makes of objects, we make of them."""

from __future__ import annotations

import pytest

from tests.addons.routeserver.goldens import compiled, expected, folder, goldens

DIFFERENT = {
    "routegroups/convert/missing-service-1-of-2": (
        "it writes backendname for backendName, which Go's decoder takes for the same; an API server prunes such a field"
    ),
}
"""Cases that come out otherwise, and why."""

ROOT = folder()


@pytest.mark.skipif(ROOT is None, reason="Skipper's cases are not here (SKIPPER_GOLDENS)")
def test_objects_become_the_routes_that_skipper_makes_of_them() -> None:
    assert ROOT is not None
    cases = list(goldens(ROOT))
    different = {golden.name for golden in cases if compiled(golden) != expected(golden)}
    assert len(cases) > 200
    assert different == DIFFERENT.keys() & {golden.name for golden in cases}

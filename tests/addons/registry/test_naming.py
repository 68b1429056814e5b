"""What paths of the distribution API are about."""

from __future__ import annotations

import pytest

from tiphys.addons.registry.faults import Fault
from tiphys.addons.registry.naming import Target, target_of


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/v2", Target("api")),
        ("/v2/", Target("api")),
        ("/v2/_catalog", Target("catalog")),
        ("/v2/a/b/manifests/latest", Target("manifests", "a/b", "latest")),
        ("/v2/a/blobs/uploads", Target("uploads", "a")),
        ("/v2/a/blobs/uploads/", Target("uploads", "a")),
        ("/v2/a/blobs/uploads/session", Target("uploads", "a", "session")),
        ("/v2/a/tags/list", Target("tags", "a", "list")),
    ],
)
def test_a_path_has_a_target(path: str, target: Target) -> None:
    assert target_of(path) == target


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/a/tags/list", 404),
        ("/v2/tags/list", 404),
        ("/v2/a/tags/all", 404),
        ("/v2/a/layers/x", 404),
        ("/v2/A/manifests/latest", 400),
        (f"/v2/{'a' * 256}/manifests/latest", 400),
    ],
)
def test_or_none(path: str, status: int) -> None:
    with pytest.raises(Fault) as refused:
        target_of(path)
    assert refused.value.status == status

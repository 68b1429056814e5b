"""Mounts that are read-only with all below them."""

from __future__ import annotations

import pytest

from tiphys.node.volumes.readonly import is_recursive
from tiphys.node.volumes.volumefiles import VolumeError


@pytest.mark.parametrize(
    ("mode", "able", "expected"),
    [
        ("", True, False),
        ("Disabled", True, False),
        ("IfPossible", True, True),
        ("IfPossible", False, False),
        ("Enabled", True, True),
    ],
)
def test_what_the_runtime_can_do_is_done(mode: str, able: bool, expected: bool) -> None:
    assert is_recursive(mode, "v", able) is expected


def test_what_it_cannot_do_is_refused() -> None:
    with pytest.raises(VolumeError, match='volume "v" requested recursive read-only mode, but'):
        is_recursive("Enabled", "v", able=False)

"""The text that a node's tables begin with."""

from __future__ import annotations

import pytest

from tiphys.network.proxy.script import base
from tiphys.network.proxy.wire import IPV4, IPV6, Family


@pytest.mark.parametrize("family", [IPV4, IPV6])
def test_only_what_came_through_a_service_is_hidden_from_its_own_pod(family: Family) -> None:
    """A connection of the node to itself that stood before is no hairpin: rewritten, it breaks."""
    text = base(family, "t", [], [])
    [rule] = [line.strip() for line in text.splitlines() if "@hairpins" in line]
    assert rule.startswith("ct status dnat ")

"""The cluster as the add-on reads it."""

from __future__ import annotations

import pytest

from tiphys.addons.karpenter import names
from tiphys.addons.karpenter.cluster import is_on_order
from tiphys.addons.karpenter.types import NodeClaim
from tiphys.api.meta_v1 import Condition, ObjectMeta


@pytest.mark.parametrize(
    ("deleted", "machine", "reason", "expected"),
    [
        ("", "", None, True),
        ("", "", "LaunchFailed", True),
        ("", "", "UnsupportedNodeClass", False),
        ("", "cloud://m-1", None, False),
        ("2026-09-21T14:13:20Z", "", None, False),
    ],
)
def test_a_claim_is_on_order_until_it_has_a_machine(
    deleted: str, machine: str, reason: str | None, expected: bool
) -> None:
    claim = NodeClaim(metadata=ObjectMeta(name="c", deletion_timestamp=deleted or None))
    claim.status.provider_id = machine
    if reason is not None:
        claim.status.conditions = [Condition(type=names.LAUNCHED, status="False", reason=reason)]
    assert is_on_order(claim) is expected

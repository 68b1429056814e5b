"""The cluster as the add-on reads it."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest

from tests.addons.karpenter.builders import state
from tiphys.addons.karpenter import names
from tiphys.addons.karpenter.cluster import is_on_order
from tiphys.addons.karpenter.state import staying
from tiphys.addons.karpenter.types import NodeClaim
from tiphys.api.meta_v1 import Condition, ObjectMeta


def test_only_a_node_that_nobody_takes_away_may_lose_its_taint() -> None:
    one = state("n", "m5.large")
    assert list(staying([one])) == [(one.claim, one.node)]
    assert one.claim is not None
    going = copy.deepcopy(one.claim)
    going.metadata.deletion_timestamp = "2026-09-21T14:13:20Z"
    others = [
        replace(one, claim=None),
        replace(one, node=None),
        replace(one, claim=going),
        replace(one, marked=True),
    ]
    assert list(staying(others)) == []


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

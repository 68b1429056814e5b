"""What a registered node still waits for."""

from __future__ import annotations

from typing import Any

import pytest

from tests.addons.karpenter.builders import state
from tiphys.addons.karpenter.initialization import obstacle_of
from tiphys.api.base import from_builtins
from tiphys.api.core_v1 import Taint

GPU = "nvidia.com/gpu"


def taint(key: str, value: str = "", effect: str = "NoSchedule") -> Taint:
    return Taint(key=key, value=value, effect=effect)


@pytest.mark.parametrize(
    ("facts", "requests", "message"),
    [
        ({}, {}, None),
        ({"ready": False}, {}, "Node status is NotReady"),
        ({"taints": [taint("team", "red")]}, {}, 'StartupTaint "team=red:NoSchedule" still exists'),
        ({"taints": [taint("team", effect="NoExecute")]}, {}, None),
        (
            {"taints": [taint("node.kubernetes.io/not-ready")]},
            {},
            'KnownEphemeralTaint "node.kubernetes.io/not-ready:NoSchedule" still exists',
        ),
        ({"taints": [taint("somebody.else")]}, {}, None),
        ({}, {GPU: "1"}, 'Resource "nvidia.com/gpu" was requested but not registered'),
        ({}, {GPU: "0"}, None),
        ({"allocatable": {GPU: "1"}}, {GPU: "1"}, None),
        ({"allocatable": {GPU: "0"}}, {GPU: "1"}, "was requested but not registered"),
    ],
)
def test_a_node_is_initialized_once_nothing_stands_against_it(
    facts: dict[str, Any], requests: dict[str, str], message: str | None
) -> None:
    one = state("n", "m5.large", ready=facts.get("ready", True))
    assert one.claim is not None and one.node is not None
    one.claim.spec.startup_taints = [from_builtins({"key": "team", "effect": "NoSchedule"}, Taint)]
    one.claim.spec.resources.requests = requests
    one.node.spec.taints = facts.get("taints", [])
    one.node.status.allocatable.update(facts.get("allocatable", {}))
    obstacle = obstacle_of(one.claim, one.node)
    assert (obstacle is None) == (message is None)
    assert obstacle is None or (message or "") in obstacle.message

"""Which containers are restarted, by policy and exit code."""

from __future__ import annotations

from typing import Any

import pytest

from tests.builders import pod
from tests.node.builders import container
from tiphys.node.containers.restartpolicy import init_policy, is_restarted, is_sidecar
from tiphys.node.states import EXITED

RULES = [
    {"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}},
    {"action": "Restart", "exitCodes": {"operator": "NotIn", "values": list(range(50))}},
]


@pytest.mark.parametrize(
    ("of_pod", "own", "code", "restarted"),
    [
        ("Always", {}, 0, True),
        ("Always", {}, 1, True),
        ("OnFailure", {}, 0, False),
        ("OnFailure", {}, 1, True),
        ("Never", {}, 0, False),
        ("Never", {}, 1, False),
        ("Always", {"restartPolicy": "Never"}, 1, False),
        ("Never", {"restartPolicy": "OnFailure"}, 1, True),
        ("Never", {"restartPolicy": "OnFailure"}, 0, False),
        ("Never", {"restartPolicy": "Always"}, 0, True),
        ("Never", {"restartPolicy": "Never", "restartPolicyRules": RULES}, 42, True),
        ("Never", {"restartPolicy": "Never", "restartPolicyRules": RULES}, 99, True),
        ("Always", {"restartPolicy": "Never", "restartPolicyRules": RULES}, 7, False),
        # Rules do not count without an own policy.
        ("Never", {"restartPolicyRules": RULES}, 42, False),
        (
            "Never",
            {"restartPolicy": "Never", "restartPolicyRules": [{"action": "Restart"}]},
            1,
            False,
        ),
    ],
)
def test_policies_and_rules(of_pod: str, own: dict[str, Any], code: int, restarted: bool) -> None:
    [spec] = pod(containers=[{"name": "c", "image": "i", **own}]).spec.containers
    assert is_restarted(of_pod, spec, container(what=EXITED, code=code)) is restarted


@pytest.mark.parametrize(
    ("policy", "of_inits"),
    [("Always", "OnFailure"), ("OnFailure", "OnFailure"), ("Never", "Never")],
)
def test_init_containers_are_not_repeated_when_they_succeed(policy: str, of_inits: str) -> None:
    assert init_policy(policy) == of_inits


@pytest.mark.parametrize(("own", "sidecar"), [({}, False), ({"restartPolicy": "Always"}, True)])
def test_an_init_container_that_always_restarts_is_a_sidecar(
    own: dict[str, str], sidecar: bool
) -> None:
    [init] = pod(initContainers=[{"name": "a", "image": "i", **own}]).spec.init_containers
    assert is_sidecar(init) is sidecar

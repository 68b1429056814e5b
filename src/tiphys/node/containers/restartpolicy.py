"""Whether a container that has ended is restarted: by its own rules and policy, or by its pod's.
Pure."""

from __future__ import annotations

from typing import Any

from tiphys.api import core_v1
from tiphys.node.states import ContainerState


def is_sidecar(container: Any) -> bool:
    """Whether an init container runs as long as its pod."""
    return getattr(container, "restart_policy", None) == "Always"


def init_policy(policy: str) -> str:
    """The policy of init containers in a pod of the policy: one that succeeded is not repeated."""
    return "OnFailure" if policy == "Always" else policy


def policy_of(policy: str, container: Any) -> str:
    """A container's own policy, or `policy` if it has none."""
    return getattr(container, "restart_policy", None) or policy


def is_restarted(policy: str, container: Any, ended: ContainerState) -> bool:
    """`policy` applies to containers without one of their own.

    Rules count only beside an own policy; upstream's only action is Restart, so one that matches
    is enough.
    """
    own_policy = getattr(container, "restart_policy", None)
    if own_policy:
        rules = getattr(container, "restart_policy_rules", ())
        if any(_matches(rule, ended.exit_code) for rule in rules):
            return True
    effective = policy_of(policy, container)
    return effective == "Always" or (effective == "OnFailure" and ended.exit_code != 0)


def _matches(rule: core_v1.ContainerRestartRule, exit_code: int) -> bool:
    if rule.exit_codes is None:
        return False
    is_listed = exit_code in rule.exit_codes.values
    return is_listed == (rule.exit_codes.operator == "In")

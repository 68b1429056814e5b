"""Whether a container that has ended is started again: by its own rules and policy, or by its pod's. Pure."""

from __future__ import annotations

from typing import Any

from tiphys.node.runtime import ContainerState


def is_sidecar(container: Any) -> bool:
    """Whether an init container runs as long as its pod."""
    return getattr(container, "restart_policy", None) == "Always"


def policy_of(policy: str, container: Any) -> str:
    """A container's own policy, or `policy` if it has none."""
    return getattr(container, "restart_policy", None) or policy


def restarts(policy: str, container: Any, ended: ContainerState) -> bool:
    """`policy` is what the container falls back on. Rules stand beside an own policy only, and the first that fits counts."""
    rules = getattr(container, "restart_policy_rules", ())
    if getattr(container, "restart_policy", None) and any(
        _fits(rule, ended.exit_code) for rule in rules
    ):
        return True
    policy = policy_of(policy, container)
    return policy == "Always" or (policy == "OnFailure" and ended.exit_code != 0)


def _fits(rule: Any, code: int) -> bool:
    codes = rule.exit_codes
    if codes is None:
        return False
    return bool((code in codes.values) == (codes.operator == "In"))

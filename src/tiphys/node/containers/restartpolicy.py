"""Whether a container that has ended is restarted: by its own rules and policy, or by its pod's.
Pure."""

from __future__ import annotations

from typing import Any

from tiphys.api import core_v1
from tiphys.node.states import ContainerState

_RESTART_ALL = "RestartAllContainers"


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

    Rules count only beside an own policy. Whatever the action of one that matches, the container is
    restarted: alone, or with all others (`restarts_all`).
    """
    if _matching_rule(container, ended) is not None:
        return True
    effective = policy_of(policy, container)
    return effective == "Always" or (effective == "OnFailure" and ended.exit_code != 0)


def restarts_all(container: Any, ended: ContainerState) -> bool:
    """Whether the end of a container restarts all containers of its pod."""
    rule = _matching_rule(container, ended)
    return rule is not None and rule.action == _RESTART_ALL


def may_restart_all(spec: core_v1.PodSpec) -> bool:
    """Whether a container of the pod has a rule that restarts all of them."""
    return any(
        rule.action == _RESTART_ALL
        for container in (*spec.init_containers, *spec.containers)
        for rule in container.restart_policy_rules
    )


def _matching_rule(container: Any, ended: ContainerState) -> core_v1.ContainerRestartRule | None:
    """The first that matches, as upstream."""
    if not getattr(container, "restart_policy", None):
        return None
    rules: list[core_v1.ContainerRestartRule] = getattr(container, "restart_policy_rules", [])
    return next((rule for rule in rules if _matches(rule, ended.exit_code)), None)


def _matches(rule: core_v1.ContainerRestartRule, exit_code: int) -> bool:
    if rule.exit_codes is None:
        return False
    is_listed = exit_code in rule.exit_codes.values
    return is_listed == (rule.exit_codes.operator == "In")

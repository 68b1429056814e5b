"""The pod security standards: what the levels baseline and restricted forbid of a pod, rule by
rule, as each release had them.

Source: the published Pod Security Standards; reasons and details are upstream's
        (k8s.io/pod-security-admission).
"""

from __future__ import annotations

import functools

from tiphys.api import core_v1
from tiphys.machinery.podsecurity import baseline, restricted
from tiphys.machinery.podsecurity.policy import (
    LEVELS,
    MODES,
    PREFIX,
    LevelVersion,
    Policy,
    is_version,
    policy_of,
)
from tiphys.machinery.podsecurity.subjects import Check, Violation, containers_of

__all__ = [
    "LEVELS",
    "MODES",
    "PREFIX",
    "LevelVersion",
    "Policy",
    "Violation",
    "containers_of",
    "is_version",
    "policy_of",
    "violations",
]

_RULES = (*baseline.RULES, *restricted.RULES)
_NEWEST = max(since for rule in _RULES for since, _ in rule.releases)


def violations(pod: core_v1.Pod, policy: LevelVersion) -> list[Violation]:
    """Everything that a level forbids of a pod, in the order of upstream's checks. A template
    counts as a pod."""
    if policy.level == "privileged":
        return []
    checks = _checks_of(policy.level, min(policy.minor, _NEWEST))
    results = (check(pod) for check in checks)
    return [violation for violation in results if violation is not None]


@functools.cache
def _checks_of(level: str, minor: int) -> tuple[Check, ...]:
    rules = baseline.RULES
    if level == "restricted":
        stricter = [rule for rule in restricted.RULES if rule.check_of(minor) is not None]
        replaced = {rule.replaces for rule in stricter}
        rules = (*(rule for rule in rules if rule.name not in replaced), *stricter)
    checks = [rule.check_of(minor) for rule in rules]
    return tuple(check for check in checks if check is not None)

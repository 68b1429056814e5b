"""The pod security standards: what the levels baseline and restricted forbid of a pod, check by
check.

Source: the published Pod Security Standards; reasons and details are upstream's
        (k8s.io/pod-security-admission).
"""

from __future__ import annotations

from tiphys.api import core_v1
from tiphys.machinery.podsecurity import baseline, restricted
from tiphys.machinery.podsecurity.subjects import Violation, containers_of

__all__ = ["LEVELS", "Violation", "containers_of", "violations"]

LEVELS = ("privileged", "baseline", "restricted")


def violations(pod: core_v1.Pod, level: str) -> list[Violation]:
    """Everything that a level forbids of a pod, in the order of upstream's checks. A template
    counts as a pod."""
    if level == "privileged":
        return []
    checks = baseline.CHECKS if level == "baseline" else restricted.CHECKS
    results = (check(pod) for check in checks)
    return [violation for violation in results if violation is not None]

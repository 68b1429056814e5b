"""Whether nodes of a pool come up at all: the condition NodeRegistrationHealthy. Pure.

The last four of its claims count. A pool is not healthy once two of four did not become nodes in
their time; it is again when those have been followed by others that did (upstream's
`nodepoolhealth`).
"""

from __future__ import annotations

from collections import deque

from tiphys.addons.karpenter import names
from tiphys.addons.karpenter.types import NodeClaim
from tiphys.api.meta_v1 import Condition
from tiphys.machinery import conditions

_COUNTED = 4
_TOO_MANY = 2
Problem = tuple[str, str]
"""(reason, message) of a claim that has not become a node."""


class Registrations:
    """What became of the claims of pools, by uid of the pool."""

    def __init__(self) -> None:
        self._pools: dict[str, deque[Problem | None]] = {}

    def note(self, pool: str, problem: Problem | None = None) -> None:
        """A claim has become a node; with a problem, it has not."""
        self._pools.setdefault(pool, deque(maxlen=_COUNTED)).append(problem)

    def forget(self, pool: str) -> None:
        self._pools.pop(pool, None)

    def condition(self, pool: str, standing: Condition | None, is_changed: bool) -> Condition:
        """How the pool is now. `is_changed`: it or its class is not what the standing condition was
        said of, so that nothing is known of it."""
        if standing is None or is_changed:
            self.forget(pool)
        elif pool not in self._pools:
            self._remember(pool, standing)
        seen = self._pools.get(pool, ())
        problems = [one for one in seen if one is not None]
        updated = Condition(type=names.REGISTRATION_HEALTHY, status="Unknown")
        if len(problems) >= _TOO_MANY:
            updated.status = "False"
            updated.reason, updated.message = problems[-1]
        elif len(problems) < len(seen):
            updated.status = "True"
            updated.reason = names.REGISTRATION_HEALTHY
        else:
            updated.reason = "AwaitingReconciliation"
            updated.message = "object is awaiting reconciliation"
        return updated

    def _remember(self, pool: str, standing: Condition) -> None:
        """After a restart: the condition is all that is known."""
        if standing.status == "True":
            self.note(pool)
        elif standing.status == "False":
            for _ in range(_TOO_MANY):
                self.note(pool, (standing.reason, standing.message))


def problem_of(claim: NodeClaim) -> Problem:
    launched = conditions.find(claim.status.conditions, names.LAUNCHED)
    if launched is None or launched.status == "True":
        return "RegistrationFailed", "Failed to register node"
    return launched.reason, launched.message

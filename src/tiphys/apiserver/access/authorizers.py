"""Several authorizers, one after the other: the first that has an opinion decides."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, Protocol

from prometheus_client import CollectorRegistry, Counter, Histogram

from tiphys.apiserver.http.request import User

if TYPE_CHECKING:
    from tiphys.apiserver.access.asked import Asked


class Decision(NamedTuple):
    """The outcome of a question. Neither allowed nor denied is "no opinion", which allows nothing
    either. `error`: what went wrong meanwhile."""

    allowed: bool = False
    denied: bool = False
    reason: str = ""
    error: str = ""

    @property
    def is_terminal(self) -> bool:
        return self.allowed or self.denied


NO_OPINION = Decision()


class AuthorizationMetrics:
    """By upstream's names."""

    def __init__(self, registry: CollectorRegistry) -> None:
        prefix = "apiserver_authorization"
        self.decisions = Counter(
            f"{prefix}_decisions_total",
            "Decisions that an authorizer of the configuration made.",
            ("type", "name", "decision"),
            registry=registry,
        )
        self.evaluations = Counter(
            f"{prefix}_webhook_evaluations_total",
            "Questions to a webhook, by what became of them.",
            ("name", "result"),
            registry=registry,
        )
        self.durations = Histogram(
            f"{prefix}_webhook_duration_seconds",
            "Seconds that a webhook took.",
            ("name", "result"),
            buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
            registry=registry,
        )
        self.fail_open = Counter(
            f"{prefix}_webhook_evaluations_fail_open_total",
            "Questions that a webhook did not answer and that others were asked then.",
            ("name", "result"),
            registry=registry,
        )
        self.condition_errors = Counter(
            f"{prefix}_match_condition_evaluation_errors_total",
            "Match conditions that could not be evaluated.",
            ("type", "name"),
            registry=registry,
        )
        self.exclusions = Counter(
            f"{prefix}_match_condition_exclusions_total",
            "Questions that match conditions kept from a webhook.",
            ("type", "name"),
            registry=registry,
        )


class Step(Protocol):
    """One authorizer of a chain. It may raise `aside.Unanswered`."""

    def decide(self, user: User, asked: Asked) -> Decision: ...


class Always:
    """Gives the same decision to every question."""

    def __init__(self, decision: Decision) -> None:
        self._decision = decision

    def decide(self, user: User, asked: Asked) -> Decision:
        return self._decision


class Rules:
    """One that allows, with a reason, or has no opinion: RBAC, and the nodes' authorizer."""

    def __init__(self, allows: Callable[[User, Asked], tuple[bool, str]]) -> None:
        self._allows = allows

    def decide(self, user: User, asked: Asked) -> Decision:
        allowed, reason = self._allows(user, asked)
        return Decision(allowed, reason=reason) if allowed or reason else NO_OPINION


class Named(NamedTuple):
    """An authorizer as the configuration lists it."""

    kind: str
    name: str
    step: Step


class Chain:
    """The authorizers of a configuration, in its order."""

    def __init__(self, steps: list[Named], metrics: AuthorizationMetrics) -> None:
        self._steps = steps
        self._metrics = metrics
        self.kinds = frozenset(step.kind for step in steps)

    def decide(self, user: User, asked: Asked) -> Decision:
        """The first decision; without one, "no opinion" with all the reasons."""
        reasons: list[str] = []
        problems: list[str] = []
        for kind, name, step in self._steps:
            decision = step.decide(user, asked)
            if decision.is_terminal:
                result = "allowed" if decision.allowed else "denied"
                self._metrics.decisions.labels(kind, name, result).inc()
                return decision
            if decision.reason:
                reasons.append(decision.reason)
            if decision.error:
                problems.append(decision.error)
        if not reasons and not problems:
            return NO_OPINION
        error = problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]"
        return Decision(reason="\n".join(reasons), error=error if problems else "")

"""How many nodes of a pool may be disrupted now, and which budget decides that. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tiphys.addons.karpenter.types import Budget, NodePool
from tiphys.machinery import cron, durations, windows

UNLIMITED = 2**31 - 1
DEFAULT = "10%"


@dataclass(frozen=True)
class Allowance:
    """How many nodes may be under disruption at once for one reason, and the budget that is the
    strictest (None: there is none)."""

    nodes: int
    budget: Budget | None = None

    @property
    def text(self) -> str:
        return describe(self.budget) if self.budget is not None else "no budget"


def describe(budget: Budget) -> str:
    """A budget in a few words: ``nodes 20% of Drifted from '0 9 * * mon-fri' for 8h``."""
    text = f"nodes {budget.nodes}"
    if budget.reasons:
        text += f" of {', '.join(budget.reasons)}"
    if budget.schedule is not None:
        text += f" from '{budget.schedule}' for {budget.duration}"
    return text


def is_active(budget: Budget, now: float) -> bool:
    """Whether a budget counts now (seconds since the epoch). Its schedule is in UTC. Raises
    ScheduleError, DurationError."""
    if budget.schedule is None and budget.duration is None:
        return True
    length = durations.seconds(budget.duration) if budget.duration else 0.0
    return windows.is_open((budget.schedule or "").strip(), length, now)


def share(nodes: str, total: int) -> int:
    """``20%`` of a number of nodes, rounded up, or a plain number. What is neither allows none."""
    try:
        if nodes.endswith("%"):
            return -(-int(nodes[:-1]) * total // 100)
        return int(nodes)
    except ValueError:
        return 0


def allowed(pool: NodePool, reason: str, total: int, now: float) -> Allowance:
    """The strictest of the budgets that count for a reason now. One that cannot be understood
    allows nothing, whatever its reasons are (upstream's `MustGetAllowedDisruptions`)."""
    strictest = Allowance(UNLIMITED)
    for budget in budgets_of(pool):
        try:
            nodes = share(budget.nodes, total) if is_active(budget, now) else UNLIMITED
        except (cron.ScheduleError, durations.DurationError):
            return Allowance(0, budget)
        counts = budget.reasons is None or reason in budget.reasons  # of no reason: for none
        if counts and nodes < strictest.nodes:
            strictest = Allowance(nodes, budget)
    return strictest


def budgets_of(pool: NodePool) -> Sequence[Budget]:
    """Those that the pool has: the definition gives every pool one of a tenth."""
    return pool.spec.disruption.budgets


def mistakes(pool: NodePool) -> Iterator[str]:
    """Why budgets of a pool cannot be understood."""
    for number, budget in enumerate(budgets_of(pool)):
        try:
            is_active(budget, 0.0)
        except (cron.ScheduleError, durations.DurationError) as error:
            yield f"spec.disruption.budgets[{number}]: {error}"


@dataclass(frozen=True)
class Count:
    """Of a pool: its nodes, and those that are going or not ready. Both of the nodes that are
    managed, initialised and not at their end."""

    total: int = 0
    disrupted: int = 0


def left(
    pools: Mapping[str, NodePool], counts: Mapping[str, Count], reason: str, now: float
) -> tuple[dict[str, int], dict[str, Allowance]]:
    """(how many more nodes of each pool may be disrupted, what its budgets say)."""
    more: dict[str, int] = {}
    says: dict[str, Allowance] = {}
    for name, pool in pools.items():
        count = counts.get(name, Count())
        says[name] = allowed(pool, reason, count.total, now)
        more[name] = max(says[name].nodes - count.disrupted, 0)
    return more, says

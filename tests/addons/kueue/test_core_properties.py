"""What holds of every decision: quota is given once, and to whole workloads alone."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.addons.kueue.builders import cohort, item, queue, state, wait
from tiphys.addons.kueue.core.cycle import decide
from tiphys.addons.kueue.core.quota import Node, Slot
from tiphys.addons.kueue.core.state import State

_POLICIES = ("Never", "LowerPriority", "LowerOrNewerEqualPriority")
_FLAVORS = ("x", "y")
_amounts = st.integers(0, 6)
_limits = st.one_of(st.none(), st.integers(0, 4))


@st.composite
def quotas(draw: Any, limited: bool) -> dict[str, Any]:
    def one() -> Any:
        return (
            draw(_amounts),
            draw(_limits) if limited else None,
            draw(_limits) if limited else None,
        )

    return {name: {"cpu": one(), "nvidia.com/gpu": one()} for name in _FLAVORS}


@st.composite
def states(draw: Any) -> State:
    """Up to three queues, in a cohort, in one below it, or alone."""
    queues = []
    for number in range(draw(st.integers(1, 3))):
        where = draw(st.sampled_from(("", "root", "child")))
        borrow = draw(st.booleans())
        spec = {
            "queueingStrategy": draw(st.sampled_from(("StrictFIFO", "BestEffortFIFO"))),
            "flavorFungibility": {
                "whenCanBorrow": draw(st.sampled_from(("MayStopSearch", "TryNextFlavor"))),
                "whenCanPreempt": draw(st.sampled_from(("MayStopSearch", "TryNextFlavor"))),
            },
            "preemption": {
                "withinClusterQueue": draw(st.sampled_from(_POLICIES)),
                "reclaimWithinCohort": draw(st.sampled_from(("LowerPriority", "Any"))),
                "borrowWithinCohort": {"policy": "LowerPriority" if borrow else "Never"},
            },
        }
        queues.append(queue(f"q{number}", draw(quotas(bool(where))), where, **spec))
    cohorts = [cohort("root"), cohort("child", "root", draw(quotas(True)))]
    return state(queues, cohorts=cohorts)


@st.composite
def items(draw: Any, made: State, prefix: str) -> list[Any]:
    return [
        item(
            f"{prefix}{number}",
            draw(st.sampled_from(sorted(made.queues))),
            draw(st.integers(0, 3)),
            count=draw(st.integers(1, 3)),
            cpu=draw(st.integers(0, 3)),
            **{"nvidia.com/gpu": draw(st.integers(0, 2))},
        )
        for number in range(draw(st.integers(1, 6)))
    ]


def nodes(made: State) -> list[Node]:
    found = {id(queue.node): queue.node for queue in made.queues.values()}
    for one in made.queues.values():
        found.update({id(node): node for node in one.node.ancestors()})
    return list(found.values())


def check(made: State) -> None:
    """Nobody uses more than there is; every count is the sum of what is below."""
    for node in nodes(made):
        for slot, used in node.usage.items():
            quota = node.quotas.get(slot)
            whole = node.subtree.get(slot, 0)
            if node.parent is None:
                assert used <= whole, (node.name, slot)
            elif quota is not None and quota.borrowing is not None:
                assert used <= whole + quota.borrowing, (node.name, slot)
    for one in made.queues.values():
        held: dict[Slot, int] = {}
        for running in one.running.values():
            for slot, amount in running.usage.items():
                held[slot] = held.get(slot, 0) + amount
        assert {k: v for k, v in one.node.usage.items() if v} == {
            k: v for k, v in held.items() if v
        }


def is_whole(running: Any) -> bool:
    asked: dict[str, int] = {}
    for pods in running.pod_sets:
        for resource, amount in pods.total(pods.count).items():
            asked[resource] = asked.get(resource, 0) + amount
    got: dict[str, int] = {}
    for slot, amount in running.usage.items():
        got[slot.resource] = got.get(slot.resource, 0) + amount
    return asked == got


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_quota_is_given_once_and_to_whole_workloads(data: Any) -> None:
    made = data.draw(states())
    for prefix in ("first", "second"):
        asking = data.draw(items(made, prefix))
        decided = decide(wait(made, *asking))
        keys = [one.item.key for one in (*decided.admitted, *decided.preempting)]
        keys += [one.item.key for one in decided.refused]
        assert len(keys) == len(set(keys)), "each is decided about once"
        # Who preempts has its place kept in that pass; it is given up after it.
        for preempting in decided.preempting:
            assert preempting.targets
        made = _again(made)
        check(made)
        assert all(
            is_whole(one) for queue in made.queues.values() for one in queue.running.values()
        )


def _again(made: State) -> State:
    """The same state as the next pass makes it: what is admitted, and nothing else."""
    running = [one for queue in made.queues.values() for one in queue.running.values()]
    for node in nodes(made):
        node.usage.clear()
    for queue_ in made.queues.values():
        queue_.running.clear()
    made.waiting.clear()
    made.blocked.clear()
    for one in running:
        made.admit(one, one.usage)
    return made


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_who_preempts_fits_once_its_targets_are_gone(data: Any) -> None:
    made = data.draw(states())
    decide(wait(made, *data.draw(items(made, "low"))))
    made = _again(made)
    high = item(
        "high", data.draw(st.sampled_from(sorted(made.queues))), 9, cpu=data.draw(st.integers(1, 4))
    )
    decided = decide(wait(made, high))
    for preempting in decided.preempting:
        made = _again(made)
        for target in preempting.targets:
            made.suspend(target.item)
        assert [one.item.key for one in decide(wait(made, high)).admitted] == ["default/high"]

"""Which nodes may be disrupted, and what speaks against the others, in upstream's words."""

from __future__ import annotations

from typing import Any

import pytest

from tests.addons.karpenter.builders import NOW, cluster, daemon, pod, pool, state
from tiphys.addons.karpenter import names
from tiphys.addons.karpenter.budgets import Allowance, describe, share
from tiphys.addons.karpenter.candidates import candidates, consolidatable
from tiphys.addons.karpenter.state import StateNode, World
from tiphys.addons.karpenter.types import Budget
from tiphys.api.base import canonical_quantity
from tiphys.machinery import timestamps

TYPE = "m7.xlarge"
QUIET = {names.DO_NOT_DISRUPT: "true"}


def note(world: World) -> str:
    """Why the only node is none; "" if it is one."""
    found = candidates(world)
    return found.notes[0].message if found.notes else ""


def no_node(one: StateNode) -> None:
    one.node = None


def no_claim(one: StateNode) -> None:
    one.claim = None


def marked(one: StateNode) -> None:
    one.marked = True


def going(one: StateNode) -> None:
    assert one.claim is not None
    one.claim.metadata.deletion_timestamp = timestamps.rfc3339(NOW)


def nominated(one: StateNode) -> None:
    one.nominated = True


def young(one: StateNode) -> None:
    assert one.claim is not None
    one.claim.status.conditions = [
        each for each in one.claim.status.conditions if each.type != names.INITIALIZED_CONDITION
    ]


def no_pool(one: StateNode) -> None:
    assert one.claim is not None and one.node is not None
    for labels in (one.claim.metadata.labels, one.node.metadata.labels):
        labels.pop(names.NODE_POOL, None)


def plain(one: StateNode) -> None:
    pass


ENDING = "Node is deleting or marked for deletion"


@pytest.mark.parametrize(
    ("change", "facts", "text"),
    [
        (plain, {}, ""),
        (no_node, {}, "Nodeclaim does not have an associated node"),
        (young, {}, "Node isn't initialized"),
        (marked, {}, ENDING),
        (going, {}, ENDING),
        (nominated, {}, "Node is nominated for a pending pod"),
        (
            plain,
            {"annotations": QUIET},
            f'Disruption is blocked through the "{names.DO_NOT_DISRUPT}" annotation',
        ),
        (plain, {"annotations": {names.DO_NOT_DISRUPT: "false"}}, ""),
        (no_pool, {}, f"Node doesn't have required label (label={names.NODE_POOL})"),
        (plain, {"pool": "gone"}, "NodePool not found (NodePool=gone)"),
    ],
)
def test_what_speaks_against_a_node(change: Any, facts: Any, text: str) -> None:
    one = state("n", TYPE, **facts)
    change(one)
    assert note(cluster([pool()], [one])) == text


def test_a_node_without_a_claim_is_nobodys() -> None:
    one = state("n", TYPE)
    no_claim(one)
    found = candidates(cluster([pool()], [one]))
    assert (found.nodes, found.notes) == ([], [])


@pytest.mark.parametrize(
    ("grace", "eventually", "taken"),
    [("", False, False), ("", True, False), ("1h", False, False), ("1h", True, True)],
)
def test_pods_that_want_peace_keep_a_node_unless_its_grace_ends(
    grace: str, eventually: bool, taken: bool
) -> None:
    one = state("n", TYPE, [pod("a"), pod("b", annotations=QUIET)], grace=grace)
    found = candidates(cluster([pool()], [one]), eventually=eventually)
    assert bool(found.nodes) is taken
    if not taken:
        text = f'Pod has "{names.DO_NOT_DISRUPT}" annotation (Pod=default/b)'
        assert found.notes[0].message == text


def test_a_node_costs_as_much_as_its_pods_to_move() -> None:
    deletion = "controller.kubernetes.io/pod-deletion-cost"
    cheap = pod("c", annotations={deletion: str(-(2**29))})
    empty, full = state("a", TYPE), state("b", TYPE, [pod("a"), pod("b"), cheap])
    first, second = candidates(cluster([pool()], [empty, full])).nodes
    assert second.cost - first.cost == 2.0, "none of less than nothing"
    assert second.price == first.price and first.price
    assert [one.metadata.name for one in second.pods] == ["a", "b", "c"]


def without_label(label: str) -> Any:
    def change(one: StateNode) -> None:
        assert one.claim is not None and one.node is not None
        for labels in (one.claim.metadata.labels, one.node.metadata.labels):
            labels.pop(label, None)

    return change


DISABLED = 'NodePool "default" has consolidation disabled'
WHEN_EMPTY = 'NodePool "default" has consolidation policy WhenEmpty, but node is not empty'


@pytest.mark.parametrize(
    ("change", "more", "of_pool", "empty", "taken", "text"),
    [
        (plain, {}, {}, True, True, ""),
        (plain, {}, {}, False, False, ""),
        (plain, {"pods": 1}, {}, False, True, ""),
        (plain, {"pods": 1}, {}, True, False, ""),
        (plain, {"conditions": ()}, {}, True, False, ""),
        (plain, {}, {"after": "Never"}, True, False, DISABLED),
        (plain, {"pods": 1}, {"after": "Never"}, False, False, DISABLED),
        (plain, {}, {"policy": "WhenEmpty"}, True, True, ""),
        (plain, {"pods": 1}, {"policy": "WhenEmpty"}, False, False, WHEN_EMPTY),
        (plain, {}, {"replicas": 1}, True, False, ""),
        (
            without_label(names.CAPACITY_TYPE),
            {"pods": 1},
            {},
            False,
            False,
            f'Node does not have label "{names.CAPACITY_TYPE}"',
        ),
        (
            without_label(names.ZONE),
            {"pods": 1},
            {},
            False,
            False,
            f'Node does not have label "{names.ZONE}"',
        ),
        (without_label(names.ZONE), {}, {}, True, True, ""),
        (
            plain,
            {"pods": 1, "zone": "elsewhere"},
            {},
            False,
            False,
            f'Instance Type "{TYPE}" not found',
        ),
    ],
)
def test_a_pool_says_which_of_its_nodes_are_consolidated(
    change: Any, more: Any, of_pool: Any, empty: bool, taken: bool, text: str
) -> None:
    facts, rest = dict(more), dict(of_pool)
    pods = [pod(f"p{n}") for n in range(facts.pop("pods", 0))]
    after = rest.pop("after", "0s")
    made = pool(**rest)
    made.spec.disruption.consolidate_after = after
    one = state("n", TYPE, pods, **facts)
    change(one)
    found = candidates(cluster([made], [one]))
    assert bool(list(consolidatable(found, empty=empty))) is taken
    assert [each.message for each in found.notes] == ([text] if text else [])


# --- room for daemons ---


@pytest.mark.parametrize(
    ("has_it", "tolerates", "cpu", "pods"),
    [(False, True, "1920m", "57"), (True, True, "3920m", "58"), (False, False, "3920m", "58")],
)
def test_room_is_kept_for_daemons_that_are_to_come(
    has_it: bool, tolerates: bool, cpu: str, pods: str
) -> None:
    agent = daemon("agent", "2", **({} if tolerates else {"node_selector": {"a": "b"}}))
    own = pod("agent-x")
    own.metadata.owner_references = agent.pod.metadata.owner_references
    one = state("n", TYPE, [own] if has_it else [])
    (node,) = cluster([pool()], [one], daemons=[agent]).standing().nodes
    assert str(node.status.allocatable["cpu"]) == cpu
    assert str(node.status.allocatable["pods"]) == pods


def test_a_node_that_daemons_would_overfill_has_nothing_left() -> None:
    agent = daemon("agent", "100", requests={"example.com/x": canonical_quantity("1")})
    one = state("n", TYPE)
    (node,) = cluster([pool()], [one], daemons=[agent]).standing().nodes
    assert str(node.status.allocatable["cpu"]) == "0"
    assert "example.com/x" not in node.status.allocatable
    assert one.node is not None and str(one.node.status.allocatable["cpu"]) != "0"
    no_claim(one)
    (node,) = cluster([pool()], [one], daemons=[agent]).standing().nodes
    assert str(node.status.allocatable["cpu"]) != "0", "nobody asks what others' nodes are for"


# --- budgets in words ---


@pytest.mark.parametrize(
    ("budget", "text"),
    [
        (Budget(nodes="20%"), "nodes 20%"),
        (Budget(nodes="1", reasons=["Drifted", "Empty"]), "nodes 1 of Drifted, Empty"),
        (
            Budget(nodes="0", schedule="0 9 * * mon-fri", duration="8h"),
            "nodes 0 from '0 9 * * mon-fri' for 8h",
        ),
        (
            Budget(nodes="0", reasons=["Empty"], schedule="@daily", duration="1h"),
            "nodes 0 of Empty from '@daily' for 1h",
        ),
    ],
)
def test_a_budget_in_a_few_words(budget: Budget, text: str) -> None:
    assert describe(budget) == Allowance(1, budget).text == text
    assert Allowance(1).text == "no budget"
    assert share("many", 10) == share("x%", 10) == 0

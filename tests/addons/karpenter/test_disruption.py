"""What goes next, and what does not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.addons.karpenter.builders import CATALOG, ON_DEMAND, cluster, pod, pool, state
from tiphys.addons.karpenter import trials
from tiphys.addons.karpenter.candidates import candidates
from tiphys.addons.karpenter.disruption import Command, Look, Options, look, still_holds
from tiphys.addons.karpenter.ground import Ground
from tiphys.addons.karpenter.names import CONSOLIDATABLE, DRIFTED, HOSTNAME, INSTANCE_TYPE, ZONE
from tiphys.addons.karpenter.planning import Plan
from tiphys.addons.karpenter.state import StateNode, World
from tiphys.addons.karpenter.trials import Trials
from tiphys.api import policy_v1
from tiphys.api.base import canonical_quantity
from tiphys.api.meta_v1 import LabelSelector, ObjectMeta, OwnerReference

BOTH = (CONSOLIDATABLE, DRIFTED)


def found(world: World, **options: bool) -> list[tuple[str, list[str], int]]:
    """(method, nodes, replacements) of every command."""
    return [
        (c.method, [each.name for each in c.candidates], len(c.replacements))
        for c in look(world, Options(**options)).commands
    ]


def notes(world: World, node: str) -> set[str]:
    return {note.message for note in look(world).notes if note.node == node}


def budget(allowed: int, **facts: str) -> policy_v1.PodDisruptionBudget:
    made = policy_v1.PodDisruptionBudget(metadata=ObjectMeta(name="b", namespace="default"))
    made.spec.selector = LabelSelector(match_labels={"app": "web"})
    made.status.disruptions_allowed = allowed
    for name, value in facts.items():
        setattr(made.spec, name, value)
    return made


def test_empty_nodes_go_all_at_once_and_before_anything_else() -> None:
    nodes = [
        state("empty-1", "c5.large"),
        state("empty-2", "c5.large"),
        state("old", "c5.large", [pod("web-1")], conditions=BOTH),
    ]
    assert found(cluster([pool()], nodes)) == [("empty", ["empty-1", "empty-2"], 0)]


def test_a_daemon_does_not_keep_a_node() -> None:
    daemon = pod("agent-1")
    daemon.metadata.owner_references = [
        OwnerReference(kind="DaemonSet", name="agent", uid="u", controller=True)
    ]
    assert found(cluster([pool()], [state("n1", "c5.large", [daemon])])) == [("empty", ["n1"], 0)]


def test_static_drift_comes_before_drift_and_drift_before_consolidation() -> None:
    fixed = pool("fixed", replicas=1)
    static = state("static", "c5.large", pool="fixed", conditions=(DRIFTED,))
    drifted = state("drifted", "c5.large", [pod("web-1")], conditions=BOTH)
    wasteful = state("wasteful", "c5.24xlarge", [pod("web-2")])
    assert found(cluster([fixed, pool()], [static, drifted, wasteful])) == [
        ("static-drift", ["static"], 1)
    ]
    assert found(cluster([pool()], [drifted, wasteful])) == [("drift", ["drifted"], 0)]
    full = [pod("full", "95")]
    assert found(
        cluster([pool()], [drifted, state("wasteful", "c5.24xlarge", full, conditions=())])
    ) == [("drift", ["drifted"], 1)]


def test_of_drifted_nodes_the_empty_one_goes_first_then_the_oldest() -> None:
    days = [f"2027-01-0{day}T00:00:00Z" for day in (3, 1, 2)]
    nodes = [
        state(f"n{n}", "c5.large", [pod(f"web-{n}", "1500m")], conditions=(DRIFTED,), since=day)
        for n, day in enumerate(days)
    ]
    assert found(cluster([pool()], nodes)) == [("drift", ["n1"], 1)]
    idle = state("idle", "c5.large", conditions=(DRIFTED,), since="2027-01-09T00:00:00Z")
    assert found(cluster([pool()], [*nodes, idle])) == [("drift", ["idle"], 0)]


def test_several_nodes_become_one_before_single_ones_are_looked_at() -> None:
    nodes = [state(f"n{n}", "c5.large", [pod(f"web-{n}", "400m")]) for n in range(4)]
    world = cluster([pool("default", ON_DEMAND, ("kubernetes.io/arch", "In", "amd64"))], nodes)
    assert found(world) == [("multi", ["n0", "n1", "n2"], 0)]


def test_a_node_that_is_too_large_is_replaced_by_a_cheaper_one() -> None:
    world = cluster([pool("default", ON_DEMAND)], [state("n1", "m5.8xlarge", [pod("web-1")])])
    (command,) = look(world).commands
    assert command.method == "single" and command.savings > 1
    price = CATALOG.price("m5.8xlarge", "tiphys-1a", "on-demand")
    assert price is not None and all(o.price < price for _, o in command.replacements[0].options)


def test_on_demand_becomes_spot_and_nothing_else() -> None:
    (command,) = look(cluster([pool()], [state("n1", "c5.large", [pod("web-1")])])).commands
    assert {o.capacity_type for _, o in command.replacements[0].options} == {"spot"}


def test_spot_is_not_replaced_by_spot_unless_that_is_wanted() -> None:
    world = cluster([pool()], [state("n1", "r7.8xlarge", [pod("web-1")], kind="spot")])
    assert found(world) == []
    assert (
        "SpotToSpotConsolidation is disabled, can't replace a spot node with a spot node"
        in notes(world, "n1")
    )
    ((method, _, new),) = found(world, spot_to_spot=True)
    assert (method, new) == ("single", 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"policy": "WhenEmpty"},
            'NodePool "default" has consolidation policy WhenEmpty, but node is not empty',
        ),
        ({"consolidateAfter": "Never"}, 'NodePool "default" has consolidation disabled'),
    ],
)
def test_what_a_pool_does_not_want_is_left(change: dict[str, str], message: str) -> None:
    made = pool("default", ON_DEMAND, policy=change.get("policy", "WhenEmptyOrUnderutilized"))
    made.spec.disruption.consolidate_after = change.get("consolidateAfter", "0s")
    world = cluster([made], [state("n1", "m5.8xlarge", [pod("web-1")])])
    assert found(world) == [] and message in notes(world, "n1")


@pytest.mark.parametrize(
    ("facts", "against"),
    [
        (
            {"annotations": {"karpenter.sh/do-not-disrupt": "true"}},
            'Disruption is blocked through the "karpenter.sh/do-not-disrupt" annotation',
        ),
        (
            {"pods": [pod("web-1", annotations={"karpenter.sh/do-not-disrupt": "true"})]},
            'Pod has "karpenter.sh/do-not-disrupt" annotation (Pod=default/web-1)',
        ),
        ({"pods": [pod("web-1")]}, "Pdb prevents pod evictions (PodDisruptionBudget=default/b)"),
    ],
)
def test_what_speaks_against_a_node_is_said(facts: dict, against: str) -> None:
    node = state(
        "n1",
        "c5.large",
        facts.get("pods", [pod("other-1")]),
        conditions=BOTH,
        **{k: v for k, v in facts.items() if k != "pods"},
    )
    world = cluster([pool()], [node], budgets=[budget(0)])
    assert found(world) == [] and against in notes(world, "n1")


def test_drift_goes_on_where_the_grace_of_the_node_ends() -> None:
    peace = pod("web-1", annotations={"karpenter.sh/do-not-disrupt": "true"})
    patient = state("n1", "c5.large", [peace], conditions=BOTH, grace="1h")
    assert [method for method, _, _ in found(cluster([pool()], [patient]))] == ["drift"]


def test_an_unhealthy_pod_may_go_where_its_budget_says_so() -> None:
    world = cluster(
        [pool()],
        [state("n1", "c5.large", [pod("web-1")], conditions=BOTH)],
        budgets=[budget(0, unhealthy_pod_eviction_policy="AlwaysAllow")],
    )
    assert [method for method, _, _ in found(world)] == ["drift"]


def test_budgets_hold_and_are_named() -> None:
    nodes = [
        state(f"n{n}", "c5.large", [pod(f"web-{n}", "1500m")], conditions=(DRIFTED,))
        for n in range(19)
    ]
    nodes[0].marked = nodes[1].marked = nodes[2].marked = nodes[3].marked = True
    result: Look = look(cluster([pool(nodes="20%")], nodes))
    assert result.commands == [] and result.held["default", "Drifted"].text == "nodes 20%"
    nodes[3].marked = False
    assert len(look(cluster([pool(nodes="20%")], nodes)).commands) == 1


def test_nodes_that_are_not_ready_use_the_budget_up() -> None:
    nodes = [
        state("sick", "c5.large", [pod("a-1")], ready=False),
        state("old", "c5.large", [pod("web-1", "1500m")], conditions=(DRIFTED,)),
    ]
    assert found(cluster([pool(nodes="1")], nodes)) == []


def test_pods_that_would_wait_for_a_node_that_is_not_ready_do_not_move() -> None:
    coming = state("coming", "c5.xlarge")
    assert coming.claim is not None
    coming.claim.status.conditions = coming.claim.status.conditions[:2]
    full = pool("default", ON_DEMAND, limits={"nodes": canonical_quantity("1")})
    world = cluster([full], [coming, state("n1", "c5.large", [pod("web-1")])])
    assert found(world) == [] and any("uninitialized" in note for note in notes(world, "n1"))


def test_an_idea_is_dropped_when_what_it_rests_on_changes() -> None:
    world = cluster([pool("default", ON_DEMAND)], [state("n1", "m5.8xlarge", [pod("web-1")])])
    (command,) = look(world).commands
    assert still_holds(command, world) is not None
    nominated = [replace(each, nominated=True) for each in world.nodes]
    assert still_holds(command, replace(world, nodes=nominated)) is None
    fuller = [state("n1", "m5.8xlarge", [pod("web-1"), pod("web-2", "30")])]
    assert still_holds(command, cluster([pool("default", ON_DEMAND)], fuller)) is None
    assert (
        still_holds(
            command,
            cluster(
                [pool("default", ON_DEMAND, nodes="0")], [state("n1", "m5.8xlarge", [pod("web-1")])]
            ),
        )
        is None
    )


def test_an_empty_node_that_got_a_pod_stays_and_others_go() -> None:
    (command,) = look(cluster([pool()], [state("a", "c5.large"), state("b", "c5.large")])).commands
    again = still_holds(
        command, cluster([pool()], [state("a", "c5.large", [pod("web-1")]), state("b", "c5.large")])
    )
    assert again is not None and [each.name for each in again.candidates] == ["b"]


def test_balanced_leaves_what_saves_little_for_much_trouble() -> None:
    many = [pod(f"web-{n}", "100m") for n in range(15)]
    nodes = [state("dear", "m5.24xlarge", [pod("big-1", "80")]), state("slight", "m5.large", many)]
    world = cluster([pool("default", ON_DEMAND, policy="Balanced", nodes="100%")], nodes)
    assert all("slight" not in gone for _, gone, _ in found(world))


NODES = st.lists(
    st.tuples(
        st.sampled_from(["c5.large", "m5.xlarge", "r5.2xlarge", "c7.4xlarge", "m7.8xlarge"]),
        st.lists(st.sampled_from(["100m", "500m", "1", "1800m"]), max_size=4),
        st.booleans(),
    ),
    min_size=1,
    max_size=7,
)


def a_fleet(facts: list, spread: str = "") -> list[StateNode]:
    nodes = []
    for number, (type_name, sizes, drifted) in enumerate(facts):
        own = [pod(f"web-{number}-{n}", cpu, spread=spread) for n, cpu in enumerate(sizes)][
            : 1 if type_name == "c5.large" else 4
        ]
        nodes.append(
            state(f"n{number}", type_name, own, conditions=BOTH if drifted else (CONSOLIDATABLE,))
        )
    return nodes


@settings(max_examples=20, deadline=None)
@given(NODES, st.integers(0, 4), st.integers(0, 1))
def test_never_dearer_never_over_the_budget_never_below_a_pdb(
    facts: list, nodes: int, lets_go: int
) -> None:
    world = cluster(
        [pool("default", ON_DEMAND, nodes=str(nodes))], a_fleet(facts), budgets=[budget(lets_go)]
    )
    commands: list[Command] = look(world, Options(spot_to_spot=True)).commands
    assert sum(len(c.candidates) for c in commands) <= nodes
    for command in commands:
        assert lets_go or not any(each.pods for each in command.candidates)
        if command.reason == "Underutilized":
            assert command.savings > 0
            worst = sum(max(o.price for _, o in new.options) for new in command.replacements)
            assert worst < sum(each.price or 0 for each in command.candidates)
        moved = sum(len(each.pods) for each in command.candidates)
        placed = sum(len(pods) for pods in command.placed.values())
        assert placed + sum(len(new.pods) for new in command.replacements) == moved


@settings(max_examples=20, deadline=None)
@given(NODES, st.sampled_from([None, "1"]), st.sampled_from(["", ZONE, HOSTNAME]))
def test_a_trial_leaves_no_trace_for_the_next(facts: list, limit: str | None, spread: str) -> None:
    limits = {"nodes": canonical_quantity(limit)} if limit else {}
    world = cluster([pool("default", ON_DEMAND, limits=limits)], a_fleet(facts, spread))
    tried = candidates(world, eventually=True).nodes
    one_after_the_other = Trials(world)
    for gone in (*([each] for each in tried), tried[:2], tried):
        result = one_after_the_other.without(gone)
        alone = Trials(world).without(gone)
        assert (outcome(result), result.errors) == (outcome(alone), alone.errors)


def outcome(result: Plan) -> tuple[object, ...]:
    """Who goes where, and what is made of which machines."""
    placed = {name: [pod.key for pod in pods] for name, pods in result.placed.items()}
    new = [([pod.key for pod in each.pods], each.options, each.pinned) for each in result.new]
    return placed, new


def test_what_stands_is_worked_out_once_for_all_that_is_tried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[Ground] = []

    def ground(*arguments: Any) -> Ground:
        made.append(Ground(*arguments))
        return made[-1]

    monkeypatch.setattr(trials, "Ground", ground)
    full = [state(f"n{n}", "c5.large", [pod(f"web-{n}", "1700m")]) for n in range(12)]
    own = pool("default", ON_DEMAND, (INSTANCE_TYPE, "In", "c5.large"))
    assert found(cluster([own], full)) == [] and len(made) == 1


def test_nothing_is_tried_again_in_a_world_that_looks_the_same() -> None:
    def world() -> World:
        web = [pod("web-1", node="n1"), pod("web-2", node="n1")]
        return cluster([pool()], [state("n1", "c5.4xlarge", web, conditions=BOTH[:1])])

    before, after = world(), world()
    assert before.nodes[0].node is not None and after.nodes[0].node is not None
    after.nodes[0].node.metadata.resource_version = "2"  # a heartbeat
    assert before.signature() == after.signature()
    assert found(before) and not look(before, consolidates=False).commands
    after.nodes[0].pods.pop()
    assert before.signature() != after.signature()
    after = world()
    after.pending.append(pod("new-1"))
    assert before.signature() != after.signature()
    after = world()
    after.nodes[0].marked = True
    assert before.signature() != after.signature()


def test_a_look_says_whether_budgets_kept_it_from_trying_nodes() -> None:
    nodes = [
        state(f"n{place}", "c5.large", [pod(f"web-{place}", node=f"n{place}")], conditions=BOTH[:1])
        for place in range(3)
    ]
    assert look(cluster([pool(nodes="0")], nodes)).skipped
    enough_for_one = look(cluster([pool(nodes="1")], nodes))
    assert not enough_for_one.skipped
